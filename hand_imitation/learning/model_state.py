"""Everything a learner must remember to go on: networks, optimisers, replay, counters, chance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hand_imitation.errors import UserError
from hand_imitation.learning.resume import (
    load_state,
    module_arrays,
    optimizer_arrays,
    random_values,
    restore_module,
    restore_optimizer,
    restore_random,
    save_state,
)

_REPLAY = ('observations', 'next_observations', 'actions', 'rewards', 'dones', 'timeouts',
           'credits')


def save_model(folder: Path, model: Any, values: Mapping[str, Any]) -> None:
    """Save a learner's state.

    The next rollout begins new episodes, with the learner that goes on as with one that resumes.

    Args:
        folder: Where to.
        model: One of the classes in `learners.py`.
        values: What else to keep.

    Raises:
        UserError: It cannot be written; an earlier one is as it was.
    """
    arrays = module_arrays(model.policy, 'policy')
    for name, optimizer in _optimizers(model).items():
        arrays.update(optimizer_arrays(optimizer, name))
    replay = getattr(model, 'replay_buffer', None)
    if replay is not None:
        filled = replay.buffer_size if replay.full else replay.pos
        arrays.update({f'replay.{name}': getattr(replay, name)[:filled] for name in _REPLAY
                       if hasattr(replay, name)})
    if getattr(model, 'log_ent_coef', None) is not None:
        arrays['log_ent_coef'] = model.log_ent_coef.detach().cpu().numpy()
    model.collector.forget()
    save_state(folder, arrays, {
        **values, 'steps': int(model.num_timesteps), 'updates': int(model._n_updates),
        'environments': int(model.collector.count),
        'replay': None if replay is None else [int(replay.pos), bool(replay.full)],
        'random': random_values(model.collector.generators())})


def load_model(folder: Path, model: Any, options: Any) -> dict[str, Any]:
    """Restore a learner's state.

    Args:
        folder: Where it lies.
        model: Made with the same options.
        options: Of the run.

    Returns:
        The other values that were kept.

    Raises:
        UserError: There is none, it is damaged, or of another network.
    """
    arrays, values = load_state(folder)
    if values['environments'] != model.collector.count:
        raise UserError(f"the run had {values['environments']} environments, not "
                        f'{model.collector.count}: give the same to resume it')
    try:
        restore_module(model.policy, 'policy', arrays)
        for name, optimizer in _optimizers(model).items():
            restore_optimizer(optimizer, name, arrays)
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"the state in '{folder}' is of another network: leave out --resume to "
                        'start anew') from error
    if values['replay'] is not None:
        replay = model.replay_buffer
        replay.pos, replay.full = values['replay']
        for name in _REPLAY:
            if hasattr(replay, name):
                kept = arrays[f'replay.{name}']
                getattr(replay, name)[:len(kept)] = kept
    if 'log_ent_coef' in arrays:
        import torch

        with torch.no_grad():
            model.log_ent_coef.copy_(torch.from_numpy(np.array(arrays['log_ent_coef'])))
    model.num_timesteps, model._n_updates = values['steps'], values['updates']
    model.collector.forget()
    restore_random(values['random'], model.collector.generators())
    return values


def _optimizers(model: Any) -> dict[str, Any]:
    """All optimisers, by name."""
    found = {'optimizer': getattr(model.policy, 'optimizer', None)}
    if hasattr(model, 'actor'):
        found = {'actor_optimizer': model.actor.optimizer,
                 'critic_optimizer': model.critic.optimizer,
                 'ent_coef_optimizer': getattr(model, 'ent_coef_optimizer', None)}
    return {name: one for name, one in found.items() if one is not None}
