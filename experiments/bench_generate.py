"""Speed, memory and accuracy of generation beside diffusers (``pos bench_generate``): see --help."""

from pos.cli.commands import bench_generate as main

if __name__ == "__main__":
    main()
