"""What runs inside Python workers; imports neither Spark nor the rest of the package."""
