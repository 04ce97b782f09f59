import pytest
import torch

from pos.data.shapes.world import ATTRIBUTES, FRAMES, SIZE, Scenes, draw_scenes, mix64, render

NAMES = list(ATTRIBUTES)


def scenes_of(n: int = 12, **values: str) -> Scenes:
    """Scenes with some attributes set: motion="left"."""
    scenes = draw_scenes(range(n))
    for name, value in values.items():
        scenes.attributes[:, NAMES.index(name)] = ATTRIBUTES[name].index(value)
    return scenes


def masks(scenes: Scenes, frames: int = FRAMES) -> torch.Tensor:
    """Where the object is, bool (n, f, h, w): red on plain black tells it from its background."""
    for name, value in {"colour": "red", "background": "black", "texture": "plain"}.items():
        scenes.attributes[:, NAMES.index(name)] = ATTRIBUTES[name].index(value)
    return render(scenes, frames)[:, :, 0] > 110


def centres(mask: torch.Tensor) -> torch.Tensor:
    """(n, f, 2): x and y of the middle of the mask's box."""
    columns, rows = mask.any(-2), mask.any(-1)
    axis = torch.arange(mask.shape[-1])

    def middle(hits: torch.Tensor) -> torch.Tensor:
        return (torch.where(hits, axis, 99).amin(-1) + torch.where(hits, axis, -1).amax(-1)) / 2

    return torch.stack([middle(columns), middle(rows)], dim=-1)


def test_a_scene_depends_on_its_own_seed_alone():
    together, alone = draw_scenes([3, 1 << 60, 7]), draw_scenes([7])
    assert torch.equal(together.attributes[2:], alone.attributes)
    assert torch.equal(together.jitter[2:], alone.jitter)


def test_attributes_are_uniform_and_independent_and_jitter_is_uniform():
    scenes = draw_scenes(range(20000))
    for index, values in enumerate(ATTRIBUTES.values()):
        counts = torch.bincount(scenes.attributes[:, index], minlength=len(values))
        assert (counts / 20000 - 1 / len(values)).abs().max() < 0.015
    columns = torch.cat([scenes.attributes.float(), scenes.jitter], dim=1)
    assert (torch.corrcoef(columns.T) - torch.eye(columns.shape[1])).abs().max() < 0.04
    assert (scenes.jitter.mean(0) - 0.5).abs().max() < 0.02
    assert scenes.jitter.min() >= 0
    assert scenes.jitter.max() < 1


def test_mix64_is_splitmix():
    assert int(mix64(torch.tensor([0]).numpy().astype("uint64"))[0]) == 0xE220A8397B1DCDAF  # published


def test_scenes_can_be_indexed_and_joined():
    scenes = draw_scenes(range(5))
    assert len(scenes[2]) == 1
    joined = Scenes.cat([scenes[:2], scenes[[2, 3, 4]]])
    assert torch.equal(joined.jitter, scenes.jitter)
    assert torch.equal(joined.attributes, scenes.attributes)


def test_clips_have_the_contract_and_do_not_depend_on_the_batch():
    scenes = draw_scenes(range(40))
    clips = render(scenes)
    assert clips.dtype == torch.uint8
    assert clips.shape == (40, FRAMES, 3, SIZE, SIZE)
    assert torch.equal(clips[[17, 3]], render(scenes[[17, 3]]))
    assert torch.equal(clips, render(scenes, chunk=7))
    assert render(scenes[:2], frames=1, size=32).shape == (2, 1, 3, 32, 32)


def test_other_resolutions_show_the_same_scene():
    scenes = draw_scenes(range(12))
    small = render(scenes).float()
    large = render(scenes, size=2 * SIZE).float()
    halved = torch.nn.functional.avg_pool2d(large.flatten(0, 1), 2).unflatten(0, large.shape[:2])
    assert (halved - small).abs().mean() < 2
    assert (halved - small).abs().amax() < 110  # at most part of an edge pixel


@pytest.mark.parametrize("motion", ATTRIBUTES["motion"])
def test_the_object_stays_in_the_frame(motion):
    scenes = scenes_of(96, motion=motion)
    scenes.jitter[:48] = scenes.jitter[:48].round()  # the corners of the jitter too
    mask = masks(scenes)
    assert not mask[..., 0, :].any()
    assert not mask[..., -1, :].any()
    assert not mask[..., 0].any()
    assert not mask[..., -1].any()


@pytest.mark.parametrize("motion", ["left", "right", "up", "down"])
def test_translations_cover_ground_in_their_direction(motion):
    axis, sign = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}[motion]
    path = centres(masks(scenes_of(48, motion=motion)))
    steps = sign * (path[:, 1:, axis] - path[:, :-1, axis])
    assert steps.min() >= 0
    assert steps.sum(1).min() >= 15  # pixels, for large objects too
    assert (path[:, :, 1 - axis].amax(1) - path[:, :, 1 - axis].amin(1)).max() <= 2  # corners round to pixels


@pytest.mark.parametrize(("motion", "sign"), [("clockwise", 1), ("counterclockwise", -1)])
def test_orbits_turn_their_way(motion, sign):
    path = centres(masks(scenes_of(48, motion=motion)))
    first, second = path[:, 1:-1] - path[:, :-2], path[:, 2:] - path[:, 1:-1]
    turns = (
        first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    )  # y points down: positive is clockwise
    assert (sign * turns).sum(1).min() > 0


@pytest.mark.parametrize(("motion", "axis"), [("bouncing", 1), ("swaying", 0)])
def test_oscillations_turn_back_along_one_axis(motion, axis):
    path = centres(masks(scenes_of(48, motion=motion)))
    extent = path.amax(1) - path.amin(1)
    assert extent[:, axis].min() >= 12
    assert extent[:, 1 - axis].max() <= 2
    steps = path[:, 1:, axis] - path[:, :-1, axis]
    assert ((steps > 0).any(1) & (steps < 0).any(1)).all()


def test_growing_and_shrinking_change_the_area_and_nothing_else_does():
    for motion in ATTRIBUTES["motion"]:
        mask = masks(scenes_of(24, motion=motion))
        area = mask.flatten(2).sum(-1).float()
        ratio = area[:, -1] / area[:, 0]
        if motion == "growing":
            assert ratio.min() > 1.8
        elif motion == "shrinking":
            assert ratio.max() < 1 / 1.8
        else:
            assert ratio.sub(1).abs().max() < 0.2


def test_sizes_stay_apart():
    for motion in ("left", "growing", "shrinking"):
        for shape in ATTRIBUTES["shape"]:
            areas = [
                masks(scenes_of(8, motion=motion, shape=shape, size=size), frames=4).flatten(1).sum(1)
                for size in ATTRIBUTES["size"]
            ]
            assert areas[0].max() < 0.7 * areas[1].min()
            assert areas[1].max() < 0.7 * areas[2].min()


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", torch.pi * 0.98**2),
        ("square", (2 * 0.86) ** 2),
        ("triangle", 3 * 3**0.5 * 0.6**2),
        ("ring", torch.pi * (1.02**2 - 0.52**2)),
        ("cross", (2 * 0.35) * (2 * 1.05) * 2 - (2 * 0.35) ** 2),
        ("star", 10 * 0.5 * 1.15 * 0.54 * torch.sin(torch.tensor(torch.pi / 5)).item()),
    ],
)
def test_shapes_have_their_analytic_area(shape, area):
    scenes = scenes_of(8, shape=shape, motion="left", size="large")
    radius = 16.2 * (0.95 + 0.1 * scenes.jitter[:, 2])
    drawn = masks(scenes)[:, 0].flatten(1).sum(1)
    torch.testing.assert_close(drawn.float(), area * radius**2, rtol=0.05, atol=0)


def test_object_and_background_show_their_colours():
    scenes = scenes_of(64)
    scenes.attributes[:, NAMES.index("texture")] = 0
    clips = render(scenes).float()
    corner = clips[:, 0, :, 0, 0]
    for index in range(len(ATTRIBUTES["background"])):
        tones = corner[scenes.attributes[:, 4] == index]
        assert (tones - tones.mean(0)).abs().max() <= 12
    assert len({tuple(row) for row in (corner / 32).round().int().tolist()}) >= len(ATTRIBUTES["background"])


@pytest.mark.parametrize(
    ("texture", "tones"), [("plain", 1), ("striped", 2), ("dotted", 2), ("checkered", 2)]
)
def test_textures_have_two_tones_unless_plain(texture, tones):
    frames = render(scenes_of(8, texture=texture, background="grey", colour="red", size="small"))[:, 0, 1]
    for frame in frames:
        shades = frame[frame > 90].float()  # without the red object
        clusters = torch.bincount((shades / 16).long(), minlength=16)
        assert (clusters > 150).sum() >= tones
        if texture == "plain":
            assert shades.mode().values - shades.median() == 0
            assert (shades == shades.median()).float().mean() > 0.95
