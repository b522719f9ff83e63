"""Reading the folder of a run or an audit for a report: what is there, and what is missing."""
