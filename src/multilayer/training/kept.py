"""A copy of a network, to come back to."""

import copy

import torch
from torch import Tensor, nn


class Kept:
    """A copy of a network's parameters, buffers and extra state, to come back to.

    >>> net = nn.Linear(1, 1)
    >>> kept = Kept(net)
    >>> before = net.weight.item()
    >>> _ = nn.init.constant_(net.weight, 7.0)
    >>> kept.put_back()
    True
    >>> net.weight.item() == before
    True
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.look_again()
        self.take()

    def look_again(self) -> None:
        """Find the network's tensors anew, as it may have got others."""
        self._found: dict[str, Tensor] | None = None

    @torch.no_grad()
    def take(self) -> None:
        """Copy what the network is now."""
        if self._found is None:
            self._found = dict([*self.net.named_parameters(), *self.net.named_buffers()])
            self.tensors = {name: tensor.detach().clone() for name, tensor in self._found.items()}
        else:
            for kept, tensor in zip(self.tensors.values(), self._found.values(), strict=True):
                kept.copy_(tensor)
        self.extra = {
            name: copy.deepcopy(module.get_extra_state())
            for name, module in self.net.named_modules()
            if type(module).get_extra_state is not nn.Module.get_extra_state
        }

    @torch.no_grad()
    def put_back(self) -> bool:
        """Make the network what it was, in its own memory; False, and nothing done, if it has other parts
        now.
        """
        now = dict([*self.net.named_parameters(), *self.net.named_buffers()])
        if {name: tensor.shape for name, tensor in now.items()} != {
            name: kept.shape for name, kept in self.tensors.items()
        }:
            return False
        for name, kept in self.tensors.items():
            now[name].copy_(kept)
        for name, state in self.extra.items():
            self.net.get_submodule(name).set_extra_state(copy.deepcopy(state))
        return True

    @property
    def n_bytes(self) -> int:
        """Memory of the copies."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
