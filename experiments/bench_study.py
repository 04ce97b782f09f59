"""Videos a second of a study beside its sampler alone (``pos bench_study``): see --help."""

from pos.cli.commands import bench_study as main

if __name__ == "__main__":
    main()
