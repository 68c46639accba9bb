"""Lays flat textures in the world into a picture, as a pin-hole camera would see them.

World: x right, y up, z ahead, in m; a picture is continuous, its pixel i covers i to i + 1. A body is a list of faces,
each four corners in space and a texture; it is drawn over what is farther away. Everything is placed to a fraction of a
pixel and averaged over the area of each pixel, so that a thing that comes nearer grows smoothly. Nothing here knows
what is drawn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Texture = tuple[Array, ...]  # (h, w, 4) uint8 BGRA with colours times opacity; each level half as large as the last
NEAR = 0.3  # m; what is nearer than this is not seen


class Camera(NamedTuple):
    """A pin-hole camera."""

    width: int = 1280  # px
    height: int = 720  # px
    focal: float = 1000.0  # px
    cx: float = 640.0  # px
    cy: float = 324.0  # px; the horizon, where the camera looks level
    up: float = 1.5  # m above the road
    pitch: float = 0.0  # rad, nose down


class Eye(NamedTuple):
    """A camera at a place."""

    camera: Camera
    at: Array  # (3,) m
    turn: Array  # (3, 3) from the world to the camera, whose y is down


class Face(NamedTuple):
    """A flat piece of a body."""

    corners: Array  # (4, 3) m: of the texture's top left, top right, bottom right, bottom left
    texture: Texture
    both: bool = False  # it is seen from behind as well


class Layer(NamedTuple):
    """A body as drawn, before it is laid into the picture."""

    x: int
    y: int
    pixels: Array  # (h, w, 4) float32, 0 to 255, colours times opacity


def eye(camera: Camera, x: float = 0.0, z: float = 0.0, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Eye:
    """The camera at x, z of the road; angles in rad: right, down and clockwise are positive."""
    pitch += camera.pitch
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    axes = np.array([[cy, 0, -sy], [0, -1, 0], [sy, 0, cy]])  # right, down, ahead
    down = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    around = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return Eye(camera, np.array([x, camera.up, z]), around @ down @ axes)


def before(eye: Eye, points: Array) -> Array:
    """(n, 3) points of the world in the camera's own axes."""
    out: Array = (np.asarray(points, float) - eye.at) @ eye.turn.T
    return out


def projected(camera: Camera, points: Array) -> Array:
    """(n, 2) px of points in the camera's axes, all of them ahead."""
    out: Array = points[:, :2] / points[:, 2:] * camera.focal + (camera.cx, camera.cy)
    return out


def box(eye: Eye, points: Array) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 px around points of the world, not cut at the picture's edge; None where all are behind."""
    seen = before(eye, points)
    seen = seen[seen[:, 2] > NEAR]
    if not len(seen):
        return None
    at = projected(eye.camera, seen)
    (x1, y1), (x2, y2) = at.min(0), at.max(0)
    return float(x1), float(y1), float(x2), float(y2)


def texture(image: Array) -> Texture:
    """Of an image (h, w, 3) or, with opacity, (h, w, 4) uint8."""
    if image.shape[2] == 3:
        image = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    first = image.copy()
    first[..., :3] = (image[..., :3] * (image[..., 3:] / 255.0) + 0.5).astype(np.uint8)
    levels = [first]
    while min(levels[-1].shape[:2]) >= 4:
        h, w = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], ((w + 1) // 2, (h + 1) // 2), interpolation=cv2.INTER_AREA))
    return tuple(levels)


def cut(corners: Array, near: float = NEAR) -> tuple[Array, tuple[float, float, float, float]] | None:
    """Corners in the camera's axes with what is too near cut off, and u1, v1, u2, v2 of the texture that is left."""
    depth = corners[:, 2]
    if depth.min() > near:
        return corners, (0.0, 0.0, 1.0, 1.0)
    if depth.max() <= near:
        return None
    # a wall beside the road is behind the camera at its left or right, the road itself at its bottom
    tl, tr, br, bl = corners
    share = {(a, b): np.clip((near - p[2]) / (q[2] - p[2] + 1e-12), 0, 1) for a, b, p, q in _sides(corners)}
    if min(tl[2], bl[2]) > near:
        u = min(share["tl", "tr"], share["bl", "br"])
        return np.array([tl, tl + u * (tr - tl), bl + u * (br - bl), bl]), (0.0, 0.0, float(u), 1.0)
    if min(tr[2], br[2]) > near:
        u = max(share["tl", "tr"], share["bl", "br"])
        return np.array([tl + u * (tr - tl), tr, br, bl + u * (br - bl)]), (float(u), 0.0, 1.0, 1.0)
    if min(tl[2], tr[2]) > near:
        v = min(share["tl", "bl"], share["tr", "br"])
        return np.array([tl, tr, tr + v * (br - tr), tl + v * (bl - tl)]), (0.0, 0.0, 1.0, float(v))
    return None


def _sides(corners: Array) -> list[tuple[str, str, Array, Array]]:
    tl, tr, br, bl = corners
    return [("tl", "tr", tl, tr), ("bl", "br", bl, br), ("tl", "bl", tl, bl), ("tr", "br", tr, br)]


def drawn(eye: Eye, faces: list[Face], finest: int = 4) -> Layer | None:
    """Faces as one body, far ones first; None where nothing of it is in the picture. finest: parts of a pixel."""
    camera = eye.camera
    ready: list[tuple[float, Array, tuple[Array, Array]]] = []
    for face in faces:
        corners = before(eye, face.corners)
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        if not face.both and normal @ corners.mean(0) <= 0:  # it looks away
            continue
        left = cut(corners)
        if left is None:
            continue
        seen = projected(camera, left[0])
        ready.append((float(np.linalg.norm(corners.mean(0))), seen, _level(face.texture, seen, finest, left[1])))
    if not ready:
        return None
    every = np.concatenate([seen for _, seen, _ in ready])
    x1, y1 = np.maximum(np.floor(every.min(0)) - 1, 0).astype(int)
    x2, y2 = np.minimum(np.ceil(every.max(0)) + 1, (camera.width, camera.height)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return None
    size = max(x2 - x1, y2 - y1)
    fine = max(1, min(finest, 640 // size))
    canvas = np.zeros(((y2 - y1) * fine, (x2 - x1) * fine, 4), np.float32)
    for _, seen, (flat, us) in sorted(ready, key=lambda r: -r[0]):
        _lay(canvas, (seen - (x1, y1)) * fine, flat, us)
    pixels = canvas if fine == 1 else cv2.resize(canvas, (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)
    return Layer(int(x1), int(y1), pixels)


def _level(of: Texture, seen: Array, fine: int, part: tuple[float, float, float, float]) -> tuple[Array, Array]:
    """The level of a texture that is about as fine as it is drawn, and where in it the four corners are."""
    u1, v1, u2, v2 = part
    h, w = of[0].shape[:2]
    area = max(cv2.contourArea(seen.astype(np.float32)), 1e-3)
    texels = max((u2 - u1) * (v2 - v1), 1e-6) * w * h
    k = int(np.clip(np.floor(0.5 * np.log2(texels / area) - np.log2(fine) + 0.3), 0, len(of) - 1))
    h, w = of[k].shape[:2]
    return of[k], np.array([[u1 * w, v1 * h], [u2 * w, v1 * h], [u2 * w, v2 * h], [u1 * w, v2 * h]], np.float32)


def _lay(canvas: Array, seen: Array, flat: Array, us: Array) -> None:
    """A texture over the canvas, its corners at seen."""
    h, w = canvas.shape[:2]
    x1, y1 = np.maximum(np.floor(seen.min(0)) - 1, 0).astype(int)
    x2, y2 = np.minimum(np.ceil(seen.max(0)) + 1, (w, h)).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    way = cv2.getPerspectiveTransform(us - np.float32(0.5), (seen - (x1, y1) - 0.5).astype(np.float32))
    over = cv2.warpPerspective(flat, way, (int(x2 - x1), int(y2 - y1)), flags=cv2.INTER_LINEAR).astype(np.float32)
    under = canvas[y1:y2, x1:x2]
    under *= 1 - over[..., 3:] / 255
    under += over


def lay(picture: Array, layer: Layer) -> None:
    """A layer over the picture (h, w, 3) float32."""
    h, w = layer.pixels.shape[:2]
    under = picture[layer.y : layer.y + h, layer.x : layer.x + w]
    under *= 1 - layer.pixels[..., 3:] / 255
    under += layer.pixels[..., :3]


def glow(picture: Array, x: float, y: float, radius: float, colour: tuple[float, float, float]) -> None:
    """Light spread around x, y px, with a hot middle; added, so that what is bright stays bright."""
    reach = 3.2 * radius
    x1, y1 = max(0, int(x - reach)), max(0, int(y - reach))
    x2, y2 = min(picture.shape[1], int(x + reach) + 2), min(picture.shape[0], int(y + reach) + 2)
    if x2 <= x1 or y2 <= y1:
        return
    dx = (np.arange(x1, x2) + 0.5 - x) / radius
    dy = (np.arange(y1, y2) + 0.5 - y) / radius
    shape = np.exp(-2 * dy[:, None] ** 2) * np.exp(-2 * dx**2)
    wide = 0.12 * np.exp(-0.45 * dy[:, None] ** 2) * np.exp(-0.45 * dx**2)
    picture[y1:y2, x1:x2] += (shape + wide)[..., None].astype(np.float32) * np.array(colour, np.float32)
