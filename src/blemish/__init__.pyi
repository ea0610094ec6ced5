from blemish.datasets.base import DataSet as DataSet
from blemish.datasets.base import Record as Record
from blemish.datasets.checking import check_dataset as check_dataset
from blemish.datasets.opening import open_dataset as open_dataset
from blemish.detector import Detector as Detector
from blemish.errors import BlemishError as BlemishError
from blemish.evaluation import Evaluation as Evaluation
from blemish.evaluation import evaluate as evaluate
from blemish.images import read_image as read_image
from blemish.reporting.html import write_report as write_report
from blemish.types import Prediction as Prediction
from blemish.types import Region as Region

__version__: str
__all__: list[str]
