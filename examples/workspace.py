"""A saved workspace on Weights & Biases for the runs of this library: terms, scores, pictures, each in its place.

    pip install 'labelvae[workspace]'
    wandb login
    python examples/workspace.py --entity TEAM

Sync offline runs first: `wandb sync runs/mnist/wandb/offline-run-*`. The address of the workspace is printed.
"""

from dataclasses import fields
from typing import Any

from jsonargparse import auto_cli

from labelvae.cli.parser import DashParser

STEP = "trainer/global_step"


def workspace(entity: str, project: str = "labelvae") -> Any:
    """The sections and panels, not saved yet."""
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as spaces

    from labelvae import LossTerms

    def curve(title: str, *names: str) -> Any:
        return panels.LinePlot(title=title, x=STEP, y=list(names))

    def pictures(title: str, *names: str) -> Any:
        return panels.MediaBrowser(title=title, media_keys=list(names), num_columns=1)

    without_unit = ("adversarial", "discriminator", "label_weight")
    terms = {
        field.name: field.name if field.name in without_unit else f"{field.name}, nats" for field in fields(LossTerms)
    }
    looked_at = {
        "label_change": "change by relabelling, over that between images",
        "kl": "kl, nats per image",
        "asked_agreement": "counterfactuals that the guide takes for what was asked",
        "guide_accuracy": "guide's accuracy on the images",
    }
    sheets = ("wrong_labels", "reconstructions", "every_class", "samples")
    sections = {
        "relabel": [
            curve("effectiveness, by the judge", "relabel/effectiveness"),
            curve("guide minus judge", "relabel/gap"),
            curve("realism, by class", "relabel/realism_by_class"),
            curve("own label and back again, dB", "relabel/psnr", "relabel/reversed_psnr"),
            curve("leakage", "relabel/leakage"),
            pictures("asked against judged", "relabel/confusion"),
        ],
        "samples": [pictures(name.replace("_", " "), f"samples/{name}") for name in sheets],
        "latent": [pictures(name.replace("_", " "), f"latent/{name}") for name in ("by_label", "by_style", "kl")],
        "diagnosis": [curve(title, f"diagnosis/{name}") for name, title in looked_at.items()],
        "val": [curve(title, f"val/{name}") for name, title in terms.items()],
        "train": [curve(title, f"train/{name}") for name, title in terms.items()],
        "system": [curve("processor, %", "system/cpu"), curve("memory, MB", "system/proc.memory.rssMB")],
    }
    return spaces.Workspace(
        name="labelvae",
        entity=entity,
        project=project,
        sections=[spaces.Section(name=name, panels=shown, is_open=True) for name, shown in sections.items()],
    )


def save(entity: str, project: str = "labelvae") -> None:
    """Saves the workspace in a project.

    Args:
        entity: your user or team on Weights & Biases.
        project: the project that the runs were sent to.
    """
    try:
        made = workspace(entity, project)
    except ImportError as error:
        raise SystemExit("error: wandb-workspaces is missing; pip install 'labelvae[workspace]'") from error
    made.save()
    print(made.url)


if __name__ == "__main__":
    auto_cli(save, as_positional=False, parser_class=DashParser)
