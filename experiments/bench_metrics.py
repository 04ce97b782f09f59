"""Speed of the metrics beside the packages that they follow (``pos bench_metrics``): see --help."""

from pos.cli.commands import bench_metrics as main

if __name__ == "__main__":
    main()
