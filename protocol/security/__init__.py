"""Security: keys of clusters and users, and who may connect to which port.

Each connection is encrypted and authenticated by CURVE; these are the decisions around it.
"""
