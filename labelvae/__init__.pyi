__version__: str

from .data.augmentation import augment as augment
from .data.image_data import ImageData as ImageData
from .data.settings import Augmentation as Augmentation
from .evaluation.evaluator import evaluate as evaluate
from .evaluation.scores import Scores as Scores
from .inputs.tensors import wrong_labels as wrong_labels
from .losses.guided_elbo import GuidedELBO as GuidedELBO
from .losses.objective import Objective as Objective
from .losses.record import LossTerms as LossTerms
from .models.classifier import LabelClassifier as LabelClassifier
from .models.conditioning import ConditionalBatchNorm2d as ConditionalBatchNorm2d
from .models.conditioning import LabelPlanes as LabelPlanes
from .models.conditioning import LatentShift as LatentShift
from .models.discriminator import Discriminator as Discriminator
from .models.latent import DiagonalGaussian as DiagonalGaussian
from .models.networks import Decoder as Decoder
from .models.networks import Encoder as Encoder
from .models.vae import ConditionalVAE as ConditionalVAE
from .photos.photographs import relabel_photo as relabel_photo
from .runs.settings import Settings as Settings
from .training.options import Optimization as Optimization
from .training.tasks import ClassifierTraining as ClassifierTraining
from .training.tasks import VAETraining as VAETraining
