"""Environment variables that processes of a run agree on."""

DDS_PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
"""Where Fast DDS finds its profile: the first name up to Jazzy, the second from Kilted on."""

PARENT_VARIABLE = 'HAND_IMITATION_PARENT'
"""Process id of the program that started a node and will end it. A node whose parent is gone
ends by itself, for there is no terminal left to stop the arm from."""
