"""A ticket desk in words: customers tell where, when and how many, or wait to be asked; clerks ask and book."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

SLOTS = {
    "city": ("paris", "rome", "oslo", "vienna"),
    "day": ("monday", "tuesday", "friday", "sunday"),
    "seats": ("one", "two", "three"),
}
TOLD = {"city": ("to {}", "for {}"), "day": ("on {}", "this {}"), "seats": ("{} seats", "for {} people")}
GREETINGS = ("hello", "good morning , i want to travel", "i need tickets please")


class TicketDesk(gym.Env):
    """A customer has a city, a day and a number of seats in mind, and tells some of them at once.

    The clerk's responses are free text: ``which city ?`` (or ``day``, ``seats``) is answered, ``book CITY DAY SEATS``
    ends the conversation. It pays 1 if all three are right. A question costs 0.05, one about what the customer has
    told already 0.2, and what the customer does not understand 0.1. After 8 turns the customer leaves.
    """

    observation_space = gym.spaces.Text(256)
    action_space = gym.spaces.Text(64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.wish = {slot: str(self.np_random.choice(values)) for slot, values in SLOTS.items()}
        self.told = {slot for slot in SLOTS if self.np_random.random() < 0.4}
        self.turns = 0
        said = [str(self.np_random.choice(TOLD[slot])).format(self.wish[slot]) for slot in sorted(self.told)]
        return " , ".join([str(self.np_random.choice(GREETINGS)), *said]) + " .", {}

    def step(self, action):
        words = action.split()
        self.turns += 1
        late = self.turns == 8
        if words[:1] == ["book"]:
            right = words[1:] == list(self.wish.values())
            return "thank you .", float(right), True, False, {"is_success": right}
        if words[:1] == ["which"] and len(words) == 3 and words[1] in SLOTS and words[2] == "?":
            slot = words[1]
            again = slot in self.told
            self.told.add(slot)
            answer, reward = f"{'i told you , ' * again}{self.wish[slot]} .", -0.2 if again else -0.05
        else:
            answer, reward = "pardon ?", -0.1
        return answer, reward, late, False, {"is_success": False} if late else {}


def careless_clerk(env, rng):
    """Asks whatever comes to mind or books, as likely; hears wrongly one time in seven, and guesses what it was not
    told."""
    if rng.random() < 0.6:
        return f"which {rng.choice(list(SLOTS))} ?"
    heard = [
        env.wish[slot] if slot in env.told and rng.random() > 1 / 7 else str(rng.choice(values))
        for slot, values in SLOTS.items()
    ]
    return " ".join(["book", *heard])


def best_clerk(env, rng):
    """Asks what is missing, and nothing else, and books: the best there is."""
    missing = [slot for slot in SLOTS if slot not in env.told]
    return f"which {missing[0]} ?" if missing else " ".join(["book", *env.wish.values()])


def conversations(count, seed, clerk=careless_clerk):
    """Episodes of (customer, clerk, reward), and bool [count]: which were successes."""
    env, rng = TicketDesk(), np.random.default_rng(seed)
    episodes, successes = [], []
    for number in range(count):
        said, _ = env.reset(seed=seed if number == 0 else None)
        episode, over, info = [], False, {}
        while not over:
            response = clerk(env, rng)
            answer, reward, over, _, info = env.step(response)
            episode.append((said, response, reward))
            said = answer
        episodes.append(episode)
        successes.append(info["is_success"])
    return episodes, np.array(successes)
