"""A run followed while its record grows: nothing is read twice, and curves are kept short."""
