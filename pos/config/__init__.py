"""The configuration: its folder, the published settings, what is typed, and what errors say.

Importing it makes the published eta and gamma choices of Hydra's group ``settings``.
"""

from pos.config.settings import register

register()
