"""What the page says on which a project is started."""

from __future__ import annotations

from typing import Final

from muniment.web.words.texts import Texts

WORDS: Final[Texts] = {
    "starters": {
        "title": "Start a project",
        "lead": "A Kedro project that runs at once, with the datasets that are yours. Look at each file, then take it.",
        "first_name": "New project",
        "project": "The project",
        "name": "Name",
        "description": "What it is for",
        "description_hint": "One line. It stands in the README.",
        "package": "Python package",
        "package_hint": "Made of the name, if you leave it empty.",
        "starter": "Begin with",
        "kedro": "Kedro",
        "python": "Python",
        "tooled": "Tools and checks",
        "tools": "Tools",
        "tools_hint": "Each with what it needs to run, on a laptop and elsewhere.",
        "ci": "Checks of every change",
        "packages": "Packages",
        "packages_hint": "Those that your platform team looks after, each at the version that it tried.",
        "always": "Always there",
        "none_of_them": "None of them",
        "data": "Data",
        "environment": "Environment",
        "environment_hint": "Where the project works unless it is told otherwise.",
        "search": "Find among your datasets",
        "datasets": "Your datasets",
        "datasets_hint": "Tick those that the project begins with.",
        "datasets_more": "There are more of yours. Search for a part of the name to see them.",
        "datasets_none": "None of your datasets is found so.",
        "others": "Not yours yet",
        "others_hint": "You may know of these datasets and ask for them.",
        "ask": "Ask for access",
        "left_out": "Left out, because they do not exist or you may not use them here:",
        "show": "Show the project",
        "files": "Files",
        "files_said": "files in the folder",
        "file": "Contents of",
        "bytes": "bytes",
        "no_files": "There are no files to show yet. Mend what is marked above.",
        "take": "Take it away",
        "download": "Download",
        "share": "Link to share",
        "share_hint": "It holds your choices and nothing else. Whoever follows it gets the datasets that are theirs.",
        "curl": "With curl",
        "command": "With Kedro",
        "command_hint": "This needs kedro-muniment, and that you are signed in: kedro muniment login.",
        "then": "What then?",
        "then_text": "The README says how to run it. Later, kedro muniment update brings it to newer templates.",
    },
}
