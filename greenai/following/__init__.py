"""A run followed while its record grows: what is new is read once, and its curves are kept short."""
