"""A search as one self-contained HTML page, and the rows of figures it comes down to.

The page shows public values only, says of every selected value that it flatters, and gives the reason wherever there is
no PGR. Foreign text (logs, rationales) is escaped; the page loads nothing and runs nothing.
"""

from aar.report._headline import Row, headline
from aar.report._page import write_report

__all__ = ["Row", "headline", "write_report"]
