"""Names of the files with the record of single samples."""

FOLDER = "samples"
TABLE, ABOUT, MAP, ATTENTION, REGIONS, NAMES, NAME_MAPS, LABEL_ISSUES = (
    f"{FOLDER}/{name}"
    for name in (
        "samples.csv",
        "about.json",
        "map.safetensors",
        "attention.safetensors",
        "regions.csv",
        "names.json",
        "names.safetensors",
        "label_issues.csv",
    )
)
