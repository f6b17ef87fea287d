"""``phalanx top``: the team in a terminal, live.

``app`` is the program, the only one that knows what a key does. ``following`` turns the team's verbs into news;
``rows`` holds the team and puts it in order; ``needs`` says what an instance needs, and ``deciding`` which key decides
it; ``columns`` and ``conversation`` say what a person reads. All of these are pure, but for ``following``. ``table``,
``details`` and ``writing`` are the widgets that draw it; ``terminal`` owns the terminal itself.
"""
