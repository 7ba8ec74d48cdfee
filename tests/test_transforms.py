"""Programs that trace, batch or differentiate a model as a function."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, vmap
from torch.nn import functional as F

from labelvae import Binary, Category, ConditionalVAE
from labelvae.inputs.peeking import readable

CODES, Y = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
X = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _evaluation(vae, guide):
    vae.eval()
    guide.eval()
    torch._dynamo.reset()


def test_vmap_is_the_batch(vae, guide):
    torch.testing.assert_close(vmap(lambda z: vae.decode(z[None], 1)[0])(CODES), vae.decode(CODES, 1))
    torch.testing.assert_close(vmap(lambda z, y: vae.decode(z[None], y[None])[0])(CODES, Y), vae.decode(CODES, Y))
    torch.testing.assert_close(vmap(lambda x: vae.encode(x[None]).mean[0])(X), vae.encode(X).mean)
    torch.testing.assert_close(vmap(lambda x: vae.relabel(x[None], 2)[0])(X), vae.relabel(X, 2))
    torch.testing.assert_close(vmap(lambda x: guide(x[None])[0])(X), guide(X))
    with torch.no_grad():
        torch.testing.assert_close(vmap(lambda z: vae.decode(z[None], 1)[0])(CODES), vae.decode(CODES, 1))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, in forward mode
def test_jacobians_both_ways(vae):
    for function, point in (
        (lambda z: vae.decode(z[None], 1)[0], CODES[0]),
        (lambda x: vae.encode(x[None]).mean[0], X[0]),
    ):
        expected = torch.autograd.functional.jacobian(function, point)
        torch.testing.assert_close(jacrev(function)(point), expected)
        torch.testing.assert_close(jacfwd(function)(point), expected)
    assert hessian(lambda z: vae.decode(z[None], 1).sum())(CODES[0]).shape == (4, 4)


def test_gradients_of_each_image(guide):
    def loss(weights, image, label):
        return F.cross_entropy(functional_call(guide, weights, (image[None],)), label[None])

    weights = dict(guide.named_parameters())
    each = vmap(grad(loss), (None, 0, 0))(weights, X, Y)
    F.cross_entropy(guide(X), Y, reduction="sum").backward()
    for name, weight in weights.items():
        torch.testing.assert_close(each[name].sum(dim=0), weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gradients", [True, False])
def test_whole_graphs(vae, guide, gradients):
    with torch.set_grad_enabled(gradients):
        for network, given in ((vae.decode, (CODES, Y)), (vae.relabel, (X, Y)), (guide, (X,)), (guide.features, (X,))):
            compiled = torch.compile(network, backend="eager", fullgraph=True)
            torch.testing.assert_close(compiled(*given), network(*given))
        assert torch.compile(vae, backend="eager", fullgraph=True)(X, Y).shape == X.shape
        exported = torch.export.export(guide, (X,)).module()
        torch.testing.assert_close(exported(X), guide(X))
        assert torch.export.export(vae, (X, Y)).module()(X, Y).shape == X.shape


def test_values_are_read_only_where_there_are_any(vae):
    assert readable(X)
    assert readable(X.requires_grad_(False).as_subclass(torch.nn.Parameter))
    assert not readable(X.to("meta"))
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(X)
    assert not readable(fake)
    seen = []
    vmap(lambda x: (seen.append(readable(x)), x)[1])(X)
    assert seen == [False]
    assert vae.to("meta").decode(CODES.to("meta"), Y.to("meta")).shape == X.shape


def test_symbolic_tracing_gets_a_word(guide):
    with pytest.raises(ValueError, match=r"got Proxy; torch.export.export traces a model"):
        torch.fx.symbolic_trace(guide)


def test_attributions_may_leave_the_range_where_use_may_not(guide):
    """Smoothed and integrated gradients, and a step against a classifier, look at images that are no pictures."""
    noisy = X + 0.3 * torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    for use in (guide, guide.features):
        with pytest.raises(ValueError, match="undo any normalization"):
            use(noisy)
        noisy.requires_grad_()
        (gradient,) = torch.autograd.grad(use(noisy).sum(), noisy)
        assert gradient.abs().sum() > 0
        noisy = noisy.detach()
    with pytest.raises(ValueError, match="NaN"):
        guide((noisy / 0).requires_grad_())


class Using(nn.Module):
    """A module of one's own that uses a model inside."""

    def __init__(self, vae, use):
        super().__init__()
        self.vae, self.use = vae, use
        self.eval()

    def forward(self, x, y):
        return self.use(self.vae, x, y)


USES = [
    lambda vae, x, y: vae.relabel(x, y),
    lambda vae, x, y: vae.relabel(x, 1) + vae.reconstruct(x, y),
    lambda vae, x, y: vae.relabel(x, y, own_labels=y, residual=True),
    lambda vae, x, y: vae.interpolate(x, y, 0, steps=3),
    lambda vae, x, y: vae.decode(vae.encode(x).mean, y),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("use", USES)
def test_a_module_that_relabels_is_exported_for_batches_of_any_size(vae, use, strict):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,)).eval()
    batch = torch.export.Dim("batch", min=1)
    with torch.no_grad():
        program = torch.export.export(
            Using(vae, use), (X, Y), dynamic_shapes={"x": {0: batch}, "y": {0: batch}}, strict=strict
        ).module()
        for count in (1, 3, 300):
            images, labels = torch.rand(count, 1, 8, 8), torch.arange(count) % 3
            torch.testing.assert_close(program(images, labels), use(vae, images, labels))


def test_rows_of_attributes_are_exported_for_batches_of_any_size():
    kinds = {"digit": Category(3), "on": Binary()}
    vae = ConditionalVAE((1, 8, 8), attributes=kinds, latent_dim=4, encoder_widths=(8,)).eval()
    batch, rows = torch.export.Dim("batch", min=1), torch.stack([Y, Y % 2], dim=1).float()
    program = torch.export.export(Using(vae, USES[0]), (X, rows), dynamic_shapes=({0: batch}, {0: batch})).module()
    torch.testing.assert_close(program(X[:2], rows[:2]), vae.relabel(X[:2], rows[:2]))


def test_an_exported_module_that_relabels_comes_back_from_its_file(vae, tmp_path):
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,)).eval()
    torch.export.save(torch.export.export(Using(vae, USES[0]), (X, Y)), tmp_path / "relabel.pt2")
    again = torch.export.load(tmp_path / "relabel.pt2").module()
    torch.testing.assert_close(again(X, Y), vae.relabel(X, Y))


@pytest.mark.filterwarnings("ignore")  # torch's own, of tracing
def test_compiled_and_traced_programs_take_more_images_than_they_were_made_with():
    vae = ConditionalVAE((1, 8, 8), 3, latent_dim=4, encoder_widths=(8,)).eval()
    images, labels = torch.rand(300, 1, 8, 8), torch.arange(300) % 3
    traced = torch.jit.trace(Using(vae, USES[0]), (X, Y), check_trace=False)
    torch.testing.assert_close(traced(images, labels), vae.relabel(images, labels))
    compiled = torch.compile(vae.relabel, backend="eager", fullgraph=True)
    with torch._dynamo.config.patch(recompile_limit=3):
        for count in (5, 2, 3, 4, 300, 7):
            given = images[:count], labels[:count]
            torch.testing.assert_close(compiled(*given), vae.relabel(*given))
