"""Float32 reference of an MLX model: weights dequantised from their stored type, all arithmetic in float32.
Shared by the make_*_golden scripts; needs mlx and mlx-lm."""
import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map


def dense(model):
    """Replace every quantised layer by a float32 one, cast the rest to float32."""
    for _, module in model.named_modules():
        for key in list(module.keys()):
            layer = module[key]
            if not isinstance(layer, (nn.QuantizedLinear, nn.QuantizedEmbedding)):
                continue
            weight = mx.dequantize(layer.weight, layer.scales.astype(mx.float32), layer.biases.astype(mx.float32),
                                   layer.group_size, layer.bits)
            if isinstance(layer, nn.QuantizedLinear):
                plain = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in layer)
                if "bias" in layer:
                    plain.bias = layer.bias
            else:
                plain = nn.Embedding(*weight.shape)
            plain.weight = weight
            module[key] = plain
    model.update(tree_map(lambda p: p.astype(mx.float32) if mx.issubdtype(p.dtype, mx.floating) else p,
                          model.parameters()))
    return model


def shorten(value, digits=6):
    """A float with `digits` significant digits, for small JSON."""
    return float(f"{float(value):.{digits}g}")
