"""A scalar energy of chunks, and its slope, from any network that maps chunks to chunks.

    E(x, o) = 1/2 || x - f(x, o) ||^2

is how badly the network f puts a chunk x together again (Salimans & Ho 2021, "Should EBMs model the energy
or the score?"): never negative, and 0 at a chunk that it reproduces. Its slope is `x - f - J' (x - f)` with J
the Jacobian of f: one step of length 1 down the slope ends at f, but for what J adds, so that the length of a
step need not be learned.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class ChunkEnergy(nn.Module):
    """The energy of chunks.

    Args:
        network: f, as policies that denoise have it: `f(x [B N H A], t [B N], ctx [B D]) -> [B N H A]`. An
            energy knows no time; t is always 0.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.compiler.disable  # compiled code has no second derivative, which learning needs
    def forward(self, x: Float[Tensor, "B N H A"], ctx: Float[Tensor, "B D"]) -> Float[Tensor, "B N"]:
        """E of each candidate given its row's `ctx`."""
        rebuilt = self.network(x, x.new_zeros(x.shape[:2]), ctx)
        return 0.5 * (x - rebuilt).square().sum((-2, -1))


def slope(
    energy: nn.Module, x: Float[Tensor, "B N H A"], ctx: Float[Tensor, "B D"]
) -> Float[Tensor, "B N H A"]:
    """dE/dx of each candidate.

    Leaves no gradient on any parameter. Where gradients are on, it can be differentiated itself: that is how
    the energy learns, and how chunks that descended are differentiated.
    """
    again = torch.is_grad_enabled()
    # fused attention has no second derivative
    attention = sdpa_kernel(SDPBackend.MATH) if again else nullcontext()
    with torch.enable_grad(), attention:
        at = x if again and x.requires_grad else x.detach().requires_grad_()
        (found,) = torch.autograd.grad(energy(at, ctx).sum(), at, create_graph=again)
    return found
