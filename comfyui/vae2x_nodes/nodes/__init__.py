"""One node per file."""

from . import decode, decode_to_file, encode, highres, load, upscale

NODES = (load.NODE, decode.NODE, decode_to_file.NODE, encode.NODE, upscale.NODE, highres.NODE)
