import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from labelvae import ConditionalVAE, GuidedELBO, LabelClassifier
from labelvae.models import inference, passes
from labelvae.models.inference import evaluation_mode, shallow_copy


def everything(module: nn.Module) -> list[object]:
    state = [value.clone() for value in module.state_dict().values()]
    return [*state, *((part.training, part._compiled_call_impl) for part in module.modules())]


def same(before: list[object], after: list[object]) -> bool:
    pairs = zip(before, after, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


class Dispatching(nn.Module):
    """Chooses its way when it is made, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.way = self._plain

    def _plain(self, rows):
        return self.norm(rows)

    def forward(self, rows):
        return self.way(rows)


def hooked() -> nn.Module:
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    network[1].register_forward_hook(lambda module, given, out: 2 * out)
    return network


def twice() -> nn.Module:
    norm = nn.BatchNorm1d(8)
    return nn.Sequential(norm, nn.Linear(8, 8), norm)


def compiled_inside() -> nn.Module:
    return nn.Sequential(torch.compile(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), backend="eager"))


def compiled_in_place() -> nn.Module:
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    network.compile(backend="eager")
    return network


NETWORKS = {
    "batch norm": lambda: nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)),
    "spectral norm": lambda: nn.Sequential(spectral_norm(nn.Linear(8, 8)), nn.BatchNorm1d(8)),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Linear(8, 8)), nn.Dropout(0.5)),
    "old spectral norm": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(8, 8)), nn.BatchNorm1d(8)),
    "hooks": hooked,
    "one module twice": twice,
    "a bound method": Dispatching,
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))),
    "compiled part": compiled_inside,
    "compiled": lambda: torch.compile(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), backend="eager"),
    "compiled in place": compiled_in_place,
    "recurrent": lambda: nn.Sequential(nn.BatchNorm1d(8), nn.LSTM(8, 8, 2, dropout=0.5)),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_answers_as_eval_does_and_changes_nothing(kind, training):
    network, rows = NETWORKS[kind]().train(), torch.randn(16, 8)
    for _ in range(3):
        network(rows + 1.0)
    network.train(training)
    first = next(iter(network.modules()))
    before = everything(network)
    with evaluation_mode(network) as twin, torch.no_grad():
        found = twin(rows)
        assert same(before, everything(network))
    assert same(before, everything(network))
    assert next(iter(network.modules())) is first
    with torch.no_grad():
        expected = network.eval()(rows)
    for one, other in zip(*(out if isinstance(out, tuple) else (out,) for out in (found, expected)), strict=True):
        if isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
            assert not one.requires_grad


def test_the_copy_shares_every_tensor_and_no_hook():
    network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
    twin = shallow_copy(network)
    for one, other in zip(
        network.state_dict(keep_vars=True).values(), twin.state_dict(keep_vars=True).values(), strict=True
    ):
        assert one is other
    twin[0].register_forward_hook(lambda module, given, out: 0 * out)
    assert network(torch.ones(2, 8)).abs().sum() > 0
    network.double()
    assert twin[0].weight.dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
def test_many_threads_share_a_model_in_any_mode(vae, images, training):
    with torch.no_grad():
        vae.train()(torch.rand(64, 1, 8, 8), 1)  # statistics that tell the modes apart
    wanted = [copy.deepcopy(vae).eval().relabel(images, label) for label in range(3)]
    before = everything(vae.train(training))
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda turn: vae.relabel(images, turn % 3), range(150)))
    assert all(torch.equal(each, wanted[turn % 3]) for turn, each in enumerate(found))
    assert same(before, everything(vae))


def test_a_training_beside_threads_goes_as_it_would_alone(shape, labels):
    images = torch.rand(6, *shape)

    def trained(served: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        vae = ConditionalVAE(shape, 3, latent_dim=4, encoder_widths=(8,))
        loss, stop = GuidedELBO(LabelClassifier(shape, 3, widths=(8,))), Event()
        noise = torch.Generator().manual_seed(1)
        posts = [torch.rand(6, generator=noise) for _ in range(10)]

        def serve() -> None:
            while not stop.is_set():
                vae.relabel(images, 1)

        threads = [Thread(target=serve) for _ in range(2 * served)]
        for thread in threads:
            thread.start()
        optimizer = torch.optim.SGD(vae.parameters(), lr=1e-3)
        for post in posts:
            for mode in (False, True):  # as a validation between two steps does
                vae.train(mode)
            total = loss.reconstruction(images, vae.decode_logits(vae.encode(images * post.mean()).mean, labels)).mean()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        stop.set()
        for thread in threads:
            thread.join()
        return {name: value.clone() for name, value in vae.state_dict().items()}

    alone, beside = trained(False), trained(True)
    assert all(torch.equal(alone[name], beside[name]) for name in alone)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_a_script_module_is_copied_whole():
    network = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))).train()
    outer, rows = nn.Sequential(network), torch.randn(16, 8)
    before = [value.clone() for value in network.state_dict().values()]
    with evaluation_mode(outer) as twin:
        twin(rows)
    assert network.training
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))


def test_one_twin_serves_a_whole_call(vae, images, monkeypatch):
    made, copy_of = [], inference.shallow_copy
    monkeypatch.setattr(inference, "shallow_copy", lambda module: made.append(module) or copy_of(module))
    calls = [
        lambda: vae.relabel(images, 1),
        lambda: vae.relabel(images, 1, 0, residual=True),
        lambda: vae.interpolate(images, 0, 1, steps=5),
        lambda: vae.sample(torch.tensor([0, 1])),
    ]
    for call in calls:
        made.clear()
        call()
        assert made == [vae]


def test_a_twin_is_its_own_twin_until_it_is_trained(vae):
    with evaluation_mode(vae) as twin:
        with evaluation_mode(twin) as inner:
            assert inner is twin
        twin.train()  # a caller's own business, but the next context is right again
        with evaluation_mode(twin) as inner:
            assert inner is not twin
            assert not inner.training
    assert "_evaluation_twin" not in vae.__dict__
    assert "_evaluation_twin" not in shallow_copy(twin).__dict__


def test_a_processor_takes_chunks_of_bounded_size_with_the_same_results(vae, monkeypatch):
    images, sizes = torch.rand(600, *vae.image_shape), []
    monkeypatch.setattr(passes, "MOST_VALUES", 100 * images[0].numel())
    vae.encoder.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    found = vae.relabel(images, 1)
    assert sizes == [96] * 6 + [24]
    for count, chunk_size, expected in ((90, 40, [40, 40, 10]), (200, 150, [96, 104]), (97, 97, [97]), (1, 9, [1])):
        sizes.clear()
        vae.relabel(images[:count], 1, chunk_size=chunk_size)
        assert sizes == expected
    monkeypatch.setattr(passes, "MOST_VALUES", 1)
    sizes.clear()
    vae.relabel(images[:40], 1)
    assert sizes == [16, 24]
    monkeypatch.setattr(passes, "MOST_VALUES", 10**9)
    monkeypatch.setattr(passes, "MOST_AT_ONCE", 600)
    torch.testing.assert_close(vae.relabel(images, 1), found)
