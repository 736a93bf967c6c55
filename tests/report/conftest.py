import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest


def texts_of(drawing):
    root = ElementTree.fromstring(drawing.svg())
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def lines_of(drawing, colour):
    paths = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--' + colour, drawing.svg())
    return [np.array(re.findall(r"[ML] (\S+) (\S+)", path), float) for path in paths]


@pytest.fixture(scope="session")
def texts():
    """Everything that is written in a drawing."""
    return texts_of


@pytest.fixture(scope="session")
def lines():
    """Corners of every line drawn in a colour of the page, as (n, 2) in points."""
    return lines_of
