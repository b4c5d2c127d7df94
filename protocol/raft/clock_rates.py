"""Clock rates: how much the clocks of a cluster may differ.

While the leader's clock measures ``LEASE_SHARE`` of a time, no voter's clock measures the whole of
it. While the clock of a client measures the whole, the leader's measures less than that divided by
``LEASE_SHARE``. No clock may stand still while its node is suspended and the others run.
"""

LEASE_SHARE = 0.75
