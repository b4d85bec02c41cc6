"""The program that runs on the host: Python 3.8's standard library, sent over the channel as one source.

``values`` says what can be done, the modules beside it read facts and plan with pure functions, ``host`` and
``processes`` are the only ones that touch the machine, ``main`` leads through the operations.
"""
