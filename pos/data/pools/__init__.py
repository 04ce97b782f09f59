"""Pools of captioned clips, in which ONA and SPR retrieve."""
