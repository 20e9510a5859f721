"""vae2x in ComfyUI: decode, encode and upscale with the VAE of Wan2.1, Wan2.2-14B, Qwen-Image, Krea 2 and Anima.

ComfyUI reads from here what nodes there are: by `comfy_entrypoint` if it has the V3 schema, else by `NODE_CLASS_MAPPINGS`.
"""

# pytest imports this file without a package around it, when it looks for tests below.
if __package__:
    from .vae2x_nodes import form, routes
    from .vae2x_nodes.nodes import NODES

    WEB_DIRECTORY = "./web"

    comfy_entrypoint = form.entrypoint(NODES)
    if comfy_entrypoint is None:
        # ComfyUI takes the presence of the name for an answer.
        del comfy_entrypoint
        NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS = form.mappings(NODES)

    routes.add()
