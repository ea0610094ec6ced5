"""Beyond one machine: bulk inspection and grids of benchmarks on Ray."""
