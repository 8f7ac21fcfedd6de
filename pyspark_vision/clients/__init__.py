"""What a person sees and touches beside Spark; left out of the zip, imported by nothing else."""
