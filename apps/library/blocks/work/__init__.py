"""What blocks do in child processes; see `apps.runtime.children`. Nothing here may need Django."""
