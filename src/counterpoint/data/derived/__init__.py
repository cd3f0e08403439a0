"""Data made of other data: several sources as one, values withheld, pictures seen as voxels."""
