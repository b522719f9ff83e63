"""Export of the chosen network of a finished run, in a form that can be deployed without prusc."""
