import pytest
import torch

from robopolicy.core.spec import Image
from robopolicy.nn.vision import TRUNKS, FeatureMap, ImageEncoder, SpatialSoftmax


@pytest.mark.parametrize("trunk", sorted(TRUNKS))
@pytest.mark.parametrize("size", [(84, 84), (47, 66)])
def test_the_map_has_the_shape_it_says(trunk, size):
    encoder = FeatureMap(image=Image(height=size[0], width=size[1]), trunk=trunk)
    with torch.no_grad():
        assert encoder(torch.zeros(1, 3, *size, dtype=torch.uint8)).shape == (1, *encoder.shape)


def test_bytes_and_floats_are_the_same_image():
    encoder = ImageEncoder(features=FeatureMap(image=Image(height=32, width=32)), width=7)
    frames = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    out = encoder(frames)
    assert out.shape == (2, 7)
    torch.testing.assert_close(encoder(frames.float() / 255), out, atol=1e-5, rtol=1e-5)


def test_spatial_softmax_finds_a_peak():
    maps = torch.zeros(1, 2, 5, 9)
    maps[0, 0, 4, 0] = maps[0, 1, 0, 6] = 50.0  # bottom left; top, three quarters to the right
    points = SpatialSoftmax(height=5, width=9)(maps)
    torch.testing.assert_close(points[0], torch.tensor([-1.0, 1.0, 0.5, -1.0]), atol=1e-4, rtol=0)
