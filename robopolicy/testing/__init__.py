"""The conformance kit: what learners, policies and environments must do, tried on tiny real data.

    check_learner(lambda spec: FlowPolicy(spec=spec))    # a method, from a constructor
    check_policy(policy)                                 # whatever samples: learners, steerers, clients
    check_env(lambda: make_env("tabletop/reach"))        # a simulator or a robot

The first two run lists of small checks (`LEARNER_CHECKS`, `POLICY_CHECKS`), so that a test suite can name
them one by one. A broken promise is an `AssertionError` that says which.
"""

from robopolicy.core.protocols import ChunkPolicy
from robopolicy.testing.envs import check_env
from robopolicy.testing.learners import LEARNER_CHECKS, check_learner, learner_checks
from robopolicy.testing.policies import POLICY_CHECKS, check_policy
from robopolicy.testing.tiny import (
    tiny_batch,
    tiny_learner,
    tiny_observation,
    tiny_spec,
    tiny_store,
)

__all__ = [
    "LEARNER_CHECKS",
    "POLICY_CHECKS",
    "ChunkPolicy",
    "check_env",
    "check_learner",
    "check_policy",
    "learner_checks",
    "tiny_batch",
    "tiny_learner",
    "tiny_observation",
    "tiny_spec",
    "tiny_store",
]
