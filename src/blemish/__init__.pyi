from blemish.comparison import Comparison as Comparison
from blemish.comparison import compare as compare
from blemish.datasets.base import DataSet as DataSet
from blemish.datasets.base import Record as Record
from blemish.datasets.checking import check_dataset as check_dataset
from blemish.datasets.opening import list_categories as list_categories
from blemish.datasets.opening import open_dataset as open_dataset
from blemish.detector import Detector as Detector
from blemish.errors import BlemishError as BlemishError
from blemish.errors import CalibrationWarning as CalibrationWarning
from blemish.errors import DataError as DataError
from blemish.errors import ImageError as ImageError
from blemish.errors import OptionError as OptionError
from blemish.evaluation import Evaluation as Evaluation
from blemish.evaluation import evaluate as evaluate
from blemish.files import write_atomically as write_atomically
from blemish.images import is_image_name as is_image_name
from blemish.images import read_image as read_image
from blemish.images import write_png as write_png
from blemish.images import write_tiff as write_tiff
from blemish.listing import describe_everything as describe_everything
from blemish.metrics.figure import Figure as Figure
from blemish.options import parse_assignments as parse_assignments
from blemish.reporting.comparison_page import write_comparison as write_comparison
from blemish.reporting.html import write_report as write_report
from blemish.reporting.pictures import overlay as overlay
from blemish.reporting.results import write_categories as write_categories
from blemish.reporting.results import write_results as write_results
from blemish.run import Progress as Progress
from blemish.run import Run as Run
from blemish.tracking import TRACKERS as TRACKERS
from blemish.types import Prediction as Prediction
from blemish.types import Region as Region

__version__: str
__all__: list[str]
