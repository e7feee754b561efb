"""A trace leaves the model and the random state as they were, however the run ends."""

import copy
import functools
import gc
import pickle
import random
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.modules.module as module_hooks
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import convtrace as ct

deprecated = pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# Snapshots ---------------------------------------------------------------------------------------

_HOOKS = """
    _forward_hooks _forward_hooks_with_kwargs _forward_hooks_always_called _forward_pre_hooks
    _forward_pre_hooks_with_kwargs _backward_hooks _backward_pre_hooks _state_dict_hooks
    _load_state_dict_pre_hooks _load_state_dict_post_hooks
""".split()
_GLOBAL_HOOKS = """
    _global_forward_hooks _global_forward_hooks_always_called _global_forward_hooks_with_kwargs
    _global_forward_pre_hooks _global_backward_hooks _global_backward_pre_hooks
    _global_buffer_registration_hooks _global_module_registration_hooks
    _global_parameter_registration_hooks
""".split()


def hooks_of(model: nn.Module) -> list[Any]:
    """List every hook of every module and every global one, by identity."""
    tables: list[Any] = [getattr(module_hooks, name, {}) for name in _GLOBAL_HOOKS]
    tables += [getattr(m, name, {}) for m in model.modules() for name in _HOOKS]
    return [[(key, id(value)) for key, value in dict(table).items()] for table in tables] + [
        [(id(p), len(p._backward_hooks or {})) for p in model.parameters()]
    ]


def bits(tensor: Tensor | None) -> Any:
    """Return the numbers of a tensor as bytes, so that NaN equals NaN and 0 differs from -0."""
    if tensor is None:
        return None
    copy = tensor.detach().clone()  # a tensor that NumPy has seen cannot be resized any more
    copy = copy if copy.layout is torch.strided else copy.to_dense()
    return (copy.dtype, tuple(copy.shape), copy.contiguous().numpy().tobytes())


def state_of(model: nn.Module) -> dict[str, Any]:
    """Describe everything that an observation must not change."""
    return {
        "modules": [(name, id(module), type(module)) for name, module in model.named_modules()],
        "modes": [module.training for module in model.modules()],
        "hooks": hooks_of(model),
        "parameters": [
            (name, id(p), bits(p), p.requires_grad) for name, p in model.named_parameters()
        ],
        "gradients": [(name, id(p.grad), bits(p.grad)) for name, p in model.named_parameters()],
        "buffers": [(name, id(b), bits(b)) for name, b in model.named_buffers()],
        "persistent": list(model.state_dict()),
    }


def random_states() -> dict[str, Any]:
    """Read the state of every random number generator that a model may draw from."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 the global state is the subject
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "python": random.getstate(),
        "numpy": (kind, keys.tobytes(), *rest),  # type: ignore[union-attr]  # an array here
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key, value in before.items():
        assert after[key] == value, f"{key} changed"


class FailureError(Exception):
    """What the models of this file raise."""


class Interrupting(nn.Module):
    """Calls a function in the middle of a model, e.g. one that raises."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act()
        return x


class Everything(nn.Module):
    """Changes all that a run can change: statistics, vectors, counters, modes, random states."""

    def __init__(self, last: Callable[[], Any] = lambda: None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.instance = nn.InstanceNorm2d(3, track_running_stats=True)
        self.spectral = parametrizations.spectral_norm(nn.Conv2d(3, 3, 1))
        self.drop = nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(3))
        self.register_buffer("ring", torch.full((4,), float("nan")), persistent=False)
        self.scale = nn.Parameter(torch.ones(3))
        self.inner = nn.Sequential(Interrupting(last), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.spectral(self.norm(self.conv(x))))
        x = self.instance(x)
        self.calls += 1
        self.seen = self.seen + x.detach().mean((0, 2, 3))
        self.ring[1:3] = torch.randn(2)
        with torch.no_grad():
            self.scale.mul_(0.9)
        self.scale.data.add_(1)
        self.norm.eval()
        self.eval()
        random.random()
        np.random.rand()  # noqa: NPY002 the global state is the subject
        return self.inner(x * self.scale[:, None, None])


def _raise(error: BaseException) -> Callable[[], Any]:
    def act() -> None:
        raise error

    return act


ENDINGS: dict[str, tuple[Callable[[], Any], type[BaseException] | None]] = {
    "success": (lambda: None, None),
    "an exception in a submodule": (_raise(FailureError("no")), ct.ModelError),
    "KeyboardInterrupt": (_raise(KeyboardInterrupt()), KeyboardInterrupt),
    "SystemExit": (_raise(SystemExit(3)), SystemExit),
    "GeneratorExit": (_raise(GeneratorExit()), GeneratorExit),
}


def run(model: Callable[..., Any], *inputs: Any, **options: Any) -> BaseException | None:
    """Trace a model that may fail, and return what it raised."""
    try:
        ct.trace(model, *inputs, **options)
    except BaseException as error:  # noqa: BLE001 interrupts are among the endings
        return error
    return None


@pytest.fixture(params=["everything", "convolutions"])
def keep(request: pytest.FixtureRequest) -> Any:
    return request.param


# The model ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_model_is_as_it_was(ending: str, training: bool, keep: Any) -> None:
    act, expected = ENDINGS[ending]
    model = Everything(act).train(training)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    before = state_of(model)
    error = run(model, torch.randn(4, 2, 6, 6), keep=keep)
    assert (type(error) if error else None) is expected
    assert_same(before, state_of(model))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_random_states_are_as_they_were(ending: str, keep: Any) -> None:
    act, expected = ENDINGS[ending]
    model, x = Everything(act), torch.randn(4, 2, 6, 6)
    before = random_states()
    error = run(model, x, keep=keep)
    assert (type(error) if error else None) is expected
    assert_same(before, random_states())


def test_a_seed_set_by_the_model_does_not_outlive_the_trace() -> None:
    conv, x = nn.Conv2d(1, 1, 1), torch.randn(1, 1, 3, 3)

    def model(x: Tensor) -> Tensor:
        torch.manual_seed(7)
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002 the global state is the subject
        return conv(x) + torch.rand(1)

    before = random_states()
    ct.trace(model, x)
    assert_same(before, random_states())


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_of_the_trace_goes_on_watching(ending: str, keep: Any) -> None:
    model = Everything(ENDINGS[ending][0])
    before = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    run(model, torch.randn(4, 2, 6, 6), keep=keep)
    assert before == (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
    assert not torch.overrides._get_current_function_mode_stack()
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()


@pytest.mark.filterwarnings("ignore:Full backward hook:UserWarning")
def test_hooks_of_the_user_stay_and_still_run() -> None:
    model, x = Everything(), torch.randn(4, 2, 6, 6)
    ran: list[str] = []
    handles = [
        model.conv.register_forward_hook(lambda *a, **k: ran.append("forward"), with_kwargs=True),
        model.conv.register_forward_pre_hook(lambda *a: ran.append("pre")),
        model.conv.register_full_backward_hook(lambda *a: ran.append("backward")),
        model.norm.register_forward_hook(lambda *a: ran.append("always"), always_call=True),
        module_hooks.register_module_forward_hook(lambda *a: None),
        module_hooks.register_module_forward_pre_hook(lambda *a: None),
    ]
    try:
        before = hooks_of(model)
        ct.trace(model, x)
        assert hooks_of(model) == before
        assert ran == ["pre", "forward", "always"]
    finally:
        for handle in handles:
            handle.remove()


def _fail(*args: Any) -> None:
    raise FailureError("no")


def _register_forward(model: nn.Module) -> Any:
    return model.inner.register_forward_hook(_fail)


def _register_pre(model: nn.Module) -> Any:
    return model.norm.register_forward_pre_hook(_fail)


def _register_root(model: nn.Module) -> Any:
    return model.register_forward_hook(_fail)


def _register_global(model: nn.Module) -> Any:
    return module_hooks.register_module_forward_hook(_fail)


def _register_global_pre(model: nn.Module) -> Any:
    return module_hooks.register_module_forward_pre_hook(_fail)


@pytest.mark.parametrize(
    "register",
    [_register_forward, _register_pre, _register_root, _register_global, _register_global_pre],
)
def test_the_model_is_as_it_was_after_an_exception_in_a_hook(
    register: Callable[[nn.Module], Any], keep: Any
) -> None:
    model, x = Everything(), torch.randn(4, 2, 6, 6)
    handle = register(model)
    try:
        before, drawn = state_of(model), random_states()
        with pytest.raises(ct.ModelError, match="FailureError"):
            ct.trace(model, x, keep=keep)
        assert_same(before, state_of(model))
        assert_same(drawn, random_states())
    finally:
        handle.remove()


def test_the_model_is_as_it_was_after_an_exception_in_the_progress_callback() -> None:
    model, x, calls = Everything(), torch.randn(4, 2, 6, 6), iter(range(10))
    before = state_of(model)
    error = run(model, x, on_operator=lambda: next(calls))
    assert error is not None
    assert_same(before, state_of(model))


def test_the_model_is_as_it_was_after_a_run_without_convolution() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    x = torch.randn(4, 3)
    before, drawn = state_of(model), random_states()
    with pytest.raises(ct.NoConvolutionError):
        ct.trace(model, x)
    assert_same(before, state_of(model))
    assert_same(drawn, random_states())


def test_a_refused_lazy_model_is_as_it_was() -> None:
    model = nn.Sequential(nn.LazyConv2d(2, 3), nn.LazyBatchNorm2d(affine=False))
    with pytest.raises(ct.UsageError, match="lazy"):
        ct.trace(model, torch.randn(1, 2, 5, 5))
    assert [type(module) for module in model] == [nn.LazyConv2d, nn.LazyBatchNorm2d]


@pytest.mark.parametrize("own_mode", [True, False])
def test_each_module_keeps_its_own_mode(own_mode: bool) -> None:
    model = Everything().train(not own_mode)
    model.norm.train(own_mode)
    modes = [module.training for module in model.modules()]
    ct.trace(model, torch.randn(4, 2, 6, 6))
    assert [module.training for module in model.modules()] == modes


# What a forward may do to its module -------------------------------------------------------------


def _set_grad(module: nn.Module) -> None:
    module.conv.weight.grad = torch.ones_like(module.conv.weight)


def _grow_data(module: nn.Module) -> None:
    module.cache.data = torch.cat([module.cache, module.cache])


DEEDS: dict[str, Callable[[nn.Module], Any]] = {
    "assigns a buffer": lambda m: setattr(m, "cache", m.cache + 1),
    "assigns None to a buffer": lambda m: setattr(m, "cache", None),
    "deletes a buffer": lambda m: delattr(m, "cache"),
    "registers a buffer": lambda m: m.register_buffer("late", torch.ones(2)),
    "registers a passing buffer": lambda m: m.register_buffer("late", torch.ones(1), False),
    "writes a buffer": lambda m: m.cache.add_(1),
    "writes a slice of a buffer": lambda m: m.cache[1:].fill_(9),
    "writes the data of a buffer": lambda m: m.cache.data.mul_(2),
    "replaces the data of a buffer": lambda m: setattr(m.cache, "data", m.cache.data * 2),
    "grows the data of a buffer": _grow_data,
    "resizes a buffer": lambda m: m.cache.resize_(7).fill_(1),
    "sets a buffer": lambda m: m.cache.set_(torch.ones(5)),
    "flips the sign of a zero": lambda m: m.zero.neg_(),
    "writes a complex buffer": lambda m: m.wave.mul_(1j),
    "writes a boolean buffer": lambda m: m.flags.logical_not_(),
    "writes a shared buffer": lambda m: m.twin.add_(1),
    "writes a sparse buffer": lambda m: m.sparse.mul_(2),
    "assigns a parameter": lambda m: setattr(m.conv, "bias", nn.Parameter(torch.zeros(2))),
    "deletes a parameter": lambda m: delattr(m, "scale"),
    "registers a parameter": lambda m: m.register_parameter("late", nn.Parameter(torch.ones(2))),
    "writes the data of a parameter": lambda m: m.conv.weight.data.clamp_(0, 0.1),
    "writes a parameter": lambda m: torch.no_grad()(m.conv.weight.add_)(1),
    "replaces the data of a parameter": lambda m: setattr(
        m.conv.weight, "data", torch.renorm(m.conv.weight.data, 2, 0, 0.1)
    ),
    "loads a state": lambda m: m.conv.load_state_dict(
        {name: torch.ones_like(p) for name, p in m.conv.state_dict().items()}
    ),
    "freezes a parameter": lambda m: m.conv.weight.requires_grad_(False),
    "sets a gradient": _set_grad,
    "runs backward": lambda m: m.conv(torch.ones(1, 2, 3, 3)).sum().backward(),
    "writes a gradient": lambda m: m.scale.grad.add_(1),
    "clears gradients": lambda m: m.zero_grad(),
    "adds a module": lambda m: m.add_module("late", nn.ReLU()),
    "replaces a module": lambda m: setattr(m, "act", nn.ReLU()),
    "deletes a module": lambda m: delattr(m, "act"),
    "registers a forward hook": lambda m: m.conv.register_forward_hook(lambda *a: None),
    "registers a pre-hook": lambda m: m.conv.register_forward_pre_hook(lambda *a: None),
    "removes a hook": lambda m: m.handle.remove(),
    "freezes batch norm": lambda m: m.eval(),
    "changes the format": lambda m: m.double(),
}


class Doer(nn.Module):
    """Does one thing to itself after its convolution has run."""

    def __init__(self, deed: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.deed = deed
        self.conv = nn.Conv2d(2, 2, 3)
        self.act = nn.Tanh()
        self.scale = nn.Parameter(torch.ones(2))
        self.scale.grad = torch.ones(2)
        self.register_buffer("cache", torch.arange(3.0))
        self.register_buffer("zero", torch.zeros(2))
        self.register_buffer("wave", torch.tensor([1 + 2j, complex("nan")]))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("twin", self.cache[1:])
        self.register_buffer("sparse", torch.eye(2).to_sparse())
        self.handle = self.act.register_forward_hook(lambda *a: None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.conv(x))
        self.deed(self)
        return y


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
def test_a_model_is_as_it_was_although_it(
    deed: Callable[[nn.Module], Any], fails: bool, keep: Any
) -> None:
    def act(module: nn.Module) -> None:
        deed(module)
        if fails:
            raise FailureError("no")

    model, x = Doer(act), torch.randn(1, 2, 6, 6)
    before = state_of(model)
    error = run(model, x, keep=keep)
    assert isinstance(error, ct.ModelError) == fails
    assert_same(before, state_of(model))


# Models that are not one module ------------------------------------------------------------------


def _in_a_closure(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: net(x).relu()


def _in_a_list(net: nn.Module) -> Callable[[Tensor], Tensor]:
    nets = [net]
    return lambda x: nets[0](x).relu()


def _in_a_dict(net: nn.Module) -> Callable[[Tensor], Tensor]:
    nets = {"net": net}
    return lambda x: nets["net"](x).relu()


def _in_a_function_in_a_closure(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def inner(x: Tensor) -> Tensor:
        return net(x)

    return lambda x: inner(x).relu()


def _in_a_partial(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def apply(net: nn.Module, x: Tensor) -> Tensor:
        return net(x)

    return functools.partial(apply, net)


def _in_a_default(net: nn.Module) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor, net: nn.Module = net) -> Tensor:
        return net(x)

    return apply


def _in_a_method(net: nn.Module) -> Callable[[Tensor], Tensor]:
    class Holder:
        def __init__(self) -> None:
            self.net = net

        def predict(self, x: Tensor) -> Tensor:
            return self.net(x)

    return Holder().predict


def _in_an_object(net: nn.Module) -> Callable[[Tensor], Tensor]:
    class Holder:
        pass

    holder = Holder()
    holder.net = net  # type: ignore[attr-defined]  # set from outside
    return lambda x: holder.net(x).relu()  # type: ignore[attr-defined]  # see above


def _in_a_plain_list_of_a_module(net: nn.Module) -> Callable[[Tensor], Tensor]:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.nets = [net]  # nn.Module does not register it there

        def forward(self, x: Tensor) -> Tensor:
            return self.nets[0](x)

    return Holder()


def _behind_a_decorator(net: nn.Module) -> Callable[[Tensor], Tensor]:
    return torch.no_grad()(lambda x: net(x).relu())


PLACES = [
    _in_a_closure,
    _in_a_list,
    _in_a_dict,
    _in_a_function_in_a_closure,
    _in_a_partial,
    _in_a_default,
    _in_a_method,
    _in_an_object,
    _in_a_plain_list_of_a_module,
    _behind_a_decorator,
]


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails"])
@pytest.mark.parametrize("place", PLACES)
def test_a_network_is_as_it_was_wherever_a_callable_keeps_it(
    place: Callable[[nn.Module], Callable[[Tensor], Tensor]], fails: bool, keep: Any
) -> None:
    net = Everything(_raise(FailureError("no")) if fails else lambda: None)
    x = torch.randn(4, 2, 6, 6)
    before = state_of(net)
    run(place(net), x, keep=keep)
    assert_same(before, state_of(net))


def test_a_network_given_as_an_argument_is_as_it_was(keep: Any) -> None:
    net, x = Everything(), torch.randn(4, 2, 6, 6)
    before = state_of(net)
    ct.trace(lambda net, x: net(x), net, x, keep=keep)
    assert_same(before, state_of(net))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_model_is_as_it_was() -> None:
    model = torch.jit.script(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout()))
    x = torch.randn(4, 2, 6, 6)
    before = {name: bits(value) for name, value in model.state_dict().items()}
    drawn = random_states()
    ct.trace(model, x)
    assert {name: bits(value) for name, value in model.state_dict().items()} == before
    assert model.training
    assert_same(drawn, random_states())


@deprecated
def test_old_spectral_norm_is_as_it_was() -> None:
    model = nn.utils.spectral_norm(nn.Conv2d(2, 3, 3))
    x = torch.randn(1, 2, 5, 5)
    model(x)
    before = state_of(model)
    ct.trace(model, x)
    assert_same(before, state_of(model))


# Backward, training, copies ----------------------------------------------------------------------


class Clamping(nn.Module):
    """Limits its weight in place before it uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.conv.weight.clamp_(-0.2, 0.2)
        return self.conv(x)


class Counting(nn.Module):
    """Multiplies by a buffer that every run changes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3)
        self.register_buffer("factor", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        self.factor.add_(1)
        return self.conv(x).sin() * self.factor


def _batch_norm_in_eval() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)).eval()


PENDING: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "batch norm in training": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)),
        True,
    ),
    "batch norm in eval, traced in training": (_batch_norm_in_eval, True),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Conv2d(2, 2, 3)), True),
    "a weight that is clamped in place": (Clamping, True),
    "a buffer that is multiplied with": (Counting, True),
}


@pytest.mark.parametrize("key", PENDING)
def test_a_graph_built_before_the_trace_still_differentiates(key: str) -> None:
    make, training = PENDING[key]
    model, x = make(), torch.randn(4, 2, 6, 6, requires_grad=True)
    output = model(x)
    (expected,) = torch.autograd.grad(output.square().sum(), x, retain_graph=True)
    model.train(training)
    ct.trace(model, x)
    (after,) = torch.autograd.grad(output.square().sum(), x)
    assert torch.equal(after, expected)


def _train(steps: int, between: Callable[[nn.Module, Tensor], Any]) -> dict[str, Tensor]:
    """Train a small network, and do something in the middle of each step."""
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        parametrizations.spectral_norm(nn.Conv2d(4, 2, 3)),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(4, 2, 6, 6)
        between(model, x)
        loss = model(x).square().mean()
        between(model, x)
        optimizer.zero_grad()
        loss.backward()
        between(model, x)
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_training_goes_on_as_if_there_had_been_no_trace(keep: Any) -> None:
    plain = _train(3, lambda model, x: None)
    traced = _train(3, lambda model, x: ct.trace(model, x, keep=keep))
    assert plain.keys() == traced.keys()
    for name, value in plain.items():
        assert torch.equal(value, traced[name]), name


def test_gradients_that_were_not_there_are_still_not_there() -> None:
    model, x = Everything(), torch.randn(4, 2, 6, 6, requires_grad=True)
    ct.trace(model, x)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert x.grad is None


def test_a_traced_model_can_be_copied_and_saved() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2))
    x = torch.randn(4, 2, 6, 6)
    ct.trace(model, x)
    assert torch.equal(copy.deepcopy(model).eval()(x), model.eval()(x))
    assert pickle.dumps(model)


def test_a_trace_that_is_let_go_frees_what_it_held() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU())
    trace = ct.trace(model, torch.randn(1, 2, 6, 6))
    held = [weakref.ref(step.value.data) for step in trace.steps.values()]
    trace.why("0[0,0,0,0]")
    del trace
    gc.collect()
    assert [ref() for ref in held] == [None, None]


def test_a_failed_trace_frees_what_it_held() -> None:
    seen: list[weakref.ref[Tensor]] = []

    def model(x: Tensor) -> Tensor:
        y = torch.conv2d(x, torch.ones(1, 1, 1, 1))
        seen.append(weakref.ref(y))
        raise FailureError("no")

    error = run(model, torch.randn(1, 1, 2, 2))
    assert isinstance(error, ct.ModelError)
    del error
    gc.collect()
    assert seen[0]() is None


# What the error says -----------------------------------------------------------------------------


def test_the_error_of_a_failing_model_chains_the_cause_and_names_the_place() -> None:
    model = Everything(_raise(FailureError("the reason")))
    with pytest.raises(ct.ModelError) as caught:
        ct.trace(model, torch.randn(4, 2, 6, 6))
    assert isinstance(caught.value.__cause__, FailureError)
    text = str(caught.value)
    assert "FailureError while inner.0 ran" in text
    assert "the reason" in text
    assert "left as it was" in text


def test_the_error_names_the_failing_module_although_another_returned_none() -> None:
    class Silent(nn.Module):
        def forward(self, x: Tensor) -> None:
            return None

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.silent = Silent()
            self.failing = Interrupting(_raise(FailureError("no")))

        def forward(self, x: Tensor) -> Tensor:
            self.silent(x)
            return self.failing(x)

    with pytest.raises(ct.ModelError, match="while failing ran"):
        ct.trace(Model(), torch.randn(1, 1, 2, 2))


def test_an_exception_that_the_model_handles_itself_does_not_confuse_names() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.failing = nn.Sequential(
                nn.Conv2d(2, 2, 1), Interrupting(_raise(FailureError("no")))
            )
            self.fallback = nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.failing(x)
            except FailureError:
                return torch.relu(self.fallback(x))

    trace = ct.trace(Model(), torch.randn(1, 2, 5, 5))
    assert list(trace.steps) == ["failing.0", "fallback", "relu"]


def test_a_failure_after_one_that_was_handled_names_the_second_place() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Interrupting(_raise(FailureError("one")))
            self.second = Interrupting(_raise(FailureError("two")))

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.first(x)
            except FailureError:
                return self.second(x)

    with pytest.raises(ct.ModelError, match=r"(?s)while second ran.*two"):
        ct.trace(Model(), torch.randn(1, 2, 5, 5))
