"""Files of bars, as people have them from elsewhere, brought into a lake."""

from tv_etl.imports.importing import ImportedSeries as ImportedSeries
from tv_etl.imports.importing import RefusedFile as RefusedFile
from tv_etl.imports.importing import import_files as import_files
from tv_etl.imports.options import ImportOptions as ImportOptions

__all__ = ["ImportOptions", "ImportedSeries", "RefusedFile", "import_files"]
