"""Every task of dm_control's suite as of 1.0.41, and what to say of it without importing it."""

from __future__ import annotations

TASKS = {
    "acrobot-swingup": "swing a two-link pendulum up to a target, driven at the elbow alone",
    "acrobot-swingup_sparse": "as swingup; rewarded only at the target",
    "ball_in_cup-catch": "swing a ball on a string into the cup that moves it",
    "cartpole-balance": "keep a pole upright on a cart, from near there",
    "cartpole-balance_sparse": "as balance; rewarded only near the middle and upright",
    "cartpole-swingup": "swing a pole up from hanging and keep it upright on a cart",
    "cartpole-swingup_sparse": "as swingup; rewarded only near the middle and upright",
    "cartpole-three_poles": "swing three poles in a row up on a cart",
    "cartpole-two_poles": "swing two poles in a row up on a cart",
    "cheetah-run": "run forwards with a planar cheetah at 10 m/s",
    "dog-fetch": "bring a ball to a target with a dog of 38 actuators",
    "dog-run": "run with a dog",
    "dog-stand": "stand with a dog",
    "dog-trot": "trot with a dog",
    "dog-walk": "walk with a dog",
    "finger-spin": "keep a body on a hinge spinning with a two-link finger",
    "finger-turn_easy": "turn a body on a hinge until its tip is in a large target",
    "finger-turn_hard": "turn a body on a hinge until its tip is in a small target",
    "fish-swim": "swim with a fish to a target",
    "fish-upright": "keep a fish upright in the water",
    "hopper-hop": "hop forwards on one leg",
    "hopper-stand": "stand on one leg",
    "humanoid-run": "run with a humanoid of 21 joints at 10 m/s",
    "humanoid-run_pure_state": "as run; observes positions and velocities of the joints alone",
    "humanoid-stand": "stand with a humanoid of 21 joints",
    "humanoid-walk": "walk with a humanoid of 21 joints at 1 m/s",
    "humanoid_CMU-run": "run with a humanoid of 56 joints at 10 m/s",
    "humanoid_CMU-stand": "stand with a humanoid of 56 joints",
    "humanoid_CMU-walk": "walk with a humanoid of 56 joints at 1 m/s",
    "lqr-lqr_2_1": "bring two masses on springs to rest, one of them driven",
    "lqr-lqr_6_2": "bring six masses on springs to rest, two of them driven",
    "manipulator-bring_ball": "bring a ball to a target with a planar arm and gripper",
    "manipulator-bring_peg": "bring a peg to a target pose with a planar arm and gripper",
    "manipulator-insert_ball": "put a ball into a cup with a planar arm and gripper",
    "manipulator-insert_peg": "put a peg into a slot with a planar arm and gripper",
    "pendulum-swingup": "swing a weakly driven pendulum up and keep it there",
    "point_mass-easy": "push a point to the middle of the plane, each axis by a motor of its own",
    "point_mass-hard": "push a point to the middle of the plane by motors that mix the axes anew each time",
    "quadruped-escape": "climb out of a bumpy bowl on four legs",
    "quadruped-fetch": "bring a ball to the middle of the arena on four legs",
    "quadruped-run": "run on four legs at 5 m/s",
    "quadruped-walk": "walk on four legs at 0.5 m/s",
    "reacher-easy": "reach a large target with a planar two-link arm",
    "reacher-hard": "reach a small target with a planar two-link arm",
    "stacker-stack_2": "stack two boxes at a target with a planar arm and gripper",
    "stacker-stack_4": "stack four boxes at a target with a planar arm and gripper",
    "swimmer-swimmer15": "swim in the plane with 15 links to a target",
    "swimmer-swimmer6": "swim in the plane with 6 links to a target",
    "walker-run": "run with a planar walker at 8 m/s",
    "walker-stand": "stand with a planar walker",
    "walker-walk": "walk with a planar walker at 1 m/s",
}

# Elements that tell of things outside the body, as patterns of `domain.name`; camera policies are not told.
WORLD = (
    "ball_in_cup.*.[23]",  # the ball, beside the cup
    "*.ball_state.*",
    "*.box_*",
    "*.dist_to_target",
    "*.object_*",
    "*.origin.*",
    "*.target*",
    "*.to_target.*",
    "finger.position.[23]",  # the tip of the body on the hinge
    "finger.velocity.2",
)

# From where to look, where the model's first camera is not the best: as in most work that learns from pixels.
CAMERAS = {"dog": "y-axis", "quadruped": "y"}
