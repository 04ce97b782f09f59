"""Memory and time of a training step of SCVideo at full size (``pos bench_scvideo``): see --help."""

from pos.cli.commands import bench_scvideo as main

if __name__ == "__main__":
    main()
