"""The theory: each file is a stage, in the order of docs/concepts/stages.md."""
