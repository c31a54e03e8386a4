"""An exhaustive model of DESIGN section 2: every order of steps of two writers and a hostile world, for a few records.

`spec` says what is modelled, `writer` and `world` who does what, `rule` what must hold, `search` walks all states, and
`scenarios` names the protocol, its loose readings and its mutations. Run it: `python -m tests.simulation.position_model`.
"""
