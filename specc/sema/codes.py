"""The pages of the errors and warnings about meaning: what `specc explain CODE` prints.

E02: names and the shapes of sections. E03: types, shapes and what is known when. E04: the mathematics of a process and its
samplers. E05: objectives and draws. E06: numbers and sizes. W: as the errors of the same hundred, but the spec compiles.
"""

from __future__ import annotations

from specc.syntax.codes import Page

CODES: dict[str, Page] = {
    "E0201": Page(
        "a name that means nothing here",
        "A body sees its parameters, what its interface declares, and the functions of the language; an inline body also sees "
        "the model around it. Networks see only their knobs, their inputs and the sizes that their types name.",
        "sampler mine {\n  z ~ prior()\n  return z + velosity(z, t_max)\n}\n",
        "sampler mine {\n  z ~ prior()\n  return z + velocity(z, t_max)\n}\n",
    ),
    "E0202": Page(
        "a section or statement in the wrong place",
        "A model is made of sections, a process or prediction of equations, a file of models, definitions and imports. What a "
        "place does not know is refused rather than skipped.",
        "model m {\n  sampelr euler(steps = 10)\n}\n",
        "model m {\n  sampler euler(steps = 10)\n}\n",
    ),
    "E0203": Page(
        "no definition of that kind and name",
        "Each kind has its own names: `process linear` and `network linear` are different things. `specc list` shows the "
        "library; your own definitions stand in the file or in one that it imports.",
        "process linaer\n",
        "process linear\n",
    ),
    "E0204": Page(
        "a section of another shape",
        "Sections share one shape, and each kind gives a meaning to some of its parts. A clause or part without a meaning "
        "would be read and then forgotten, so it is an error.",
        "data x: vector(2) for moons\n",
        "data x: vector(2) from moons\n",
    ),
    "E0205": Page(
        "a knob that nothing reads",
        "An argument that the definition does not have would change nothing, and look as if it did.",
        "sampler heun(stesp = 18)\n",
        "sampler heun(steps = 18)\n",
    ),
    "E0206": Page(
        "arguments that do not fit",
        "A call has too many arguments or too few, or gives one of them twice. Parameters without a default must be given.",
        "return denoise(z)\n",
        "return denoise(z, t)\n",
    ),
    "E0207": Page(
        "something that is not a function is called",
        "Functions, networks and definitions that draw or run can be called. A definition made of equations, such as a weight, "
        "is asked for one of its functions.",
        "minimize weight(t) * mean((out(z, t) - e)^2)\n",
        "minimize weight.of_target(t) * mean((out(z, t) - e)^2)\n",
    ),
    "E0208": Page(
        "said twice",
        "A model has one process, one backbone and so on; samplers, conditions, networks and settings have names of their own. "
        "Which of the two is meant cannot be guessed.",
        "sampler euler(steps = 10)\nsampler euler(steps = 50)\n",
        "sampler coarse = euler(steps = 10)\nsampler fine = euler(steps = 50)\n",
    ),
    "E0209": Page(
        "a part is missing",
        "Something that the rest needs is not there: a reader behind the data, an equation that an interface asks for, a "
        "backbone, a `return`, anything to train or to run.",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n}\n",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t\n}\n",
    ),
    "E0210": Page(
        "an import that cannot be followed",
        "Paths are relative to the file that imports. The file is missing, has errors of its own, or imports the one that it "
        "is imported by.",
        'import "dppm.spec" as base\n',
        'import "ddpm.spec" as base\n',
    ),
    "E0211": Page(
        "not supported here",
        "The construct is part of the language, and this compiler does not give it a meaning at this place. The help names a "
        "way round where there is one.",
        "for (t, s) in grid(10) { return z }\n",
        "for (t, s) in grid(10) { z = z + (s - t) * velocity(z, t) }\nreturn z\n",
    ),
    "E0212": Page(
        "another version of the language",
        "The first line says in which version the file is written, so that later versions may change the language without "
        "changing what old files mean.",
        "specc 2\n",
        "specc 1\n",
    ),
    "E0301": Page(
        "shapes that do not fit",
        "Shapes are those of one example; the batch is never written. The message gives the shapes that meet.",
        "data x: image(1, 9, 9) from digits\n",
        "data x: image(1, 8, 8) from digits\n",
    ),
    "E0302": Page(
        "nothing is broadcast silently",
        "A scalar combines with anything. Otherwise shapes are equal, or `expand` says along which axes a value is repeated: a "
        "broadcast that was not meant gives numbers of the right shape and the wrong value.",
        "return h + shift\n",
        "return h + expand(shift, like = h, axis = [1, 2])\n",
    ),
    "E0303": Page(
        "an axis or item that does not exist",
        "Axes and items count from 0, from the end with a minus. Axes of images also have names: `channel`, `row`, `column`.",
        "return z * sum(z, axis = chanel)\n",
        "return z * sum(z, axis = channel)\n",
    ),
    "E0304": Page(
        "a value of the wrong sort",
        "A number, a text, a law, a type, a function and a list are different things, and an operation takes some of them. "
        "A law is drawn from with `~`; the type of the data is not an example of them.",
        "z = normal(like = x)\nreturn z + 1\n",
        "z ~ normal(like = x)\nreturn z + 1\n",
    ),
    "E0305": Page(
        "must be known while compiling",
        "Sizes, numbers of steps and of layers, knobs of a process and the tests of `require` are settled before any code is "
        "written. Values of examples, draws and results of networks are not known then.",
        "h = linear(z, t)\n",
        "h = linear(z, 64)\n",
    ),
    "E0306": Page(
        "a loop that changes what it carries",
        "What a loop reassigns goes round with it, so it has the same shape and kind before and after each turn; and a `while` "
        "must change something that its condition reads. Where shapes change, `static for` writes the turns out.",
        "for k in 1..3 { h = concat([h, h]) }\n",
        "static for k in 1..3 { h = concat([h, h]) }\n",
    ),
    "E0307": Page(
        "a part for another kind of process",
        "Samplers, losses and predictions say which interface they are for. An ODE solver needs a velocity, which a Gaussian "
        "process has and one whose samples jump has not.",
        "process masking\nsampler heun(steps = 18)\n",
        "process vp\nsampler heun(steps = 18)\n",
    ),
    "E0308": Page(
        "nothing to leave out",
        "Guidance compares the network with and without a condition. There must be one, and it must have been left out in "
        "part of the training, or the network has never seen its null value.",
        "condition y: class(10)\nguidance cfg(scale = 2)\n",
        "condition y: class(10) with { drop = 0.1 }\nguidance cfg(scale = 2)\n",
    ),
    "E0309": Page(
        "parameters outside a network",
        "Layers own parameters, and parameters belong to a network, which has a name and stable paths. A network reads only "
        "its inputs, so that it can be exported, sliced and trained by itself.",
        "sampler mine {\n  z ~ prior()\n  return linear(z, 2)\n}\n",
        "network head(z) -> like(z) = mlp(width = 8)\nsampler mine {\n  z ~ prior()\n  return head(z)\n}\n",
    ),
    "E0310": Page(
        "one network, two sets of parameters",
        "The parameters of a network have shapes that follow from its inputs. It may be called with inputs of several types, "
        "as long as they ask for the same parameters.",
        "a = D(x)\nb = D(concat([x, x]))\n",
        "a = D(x)\nb = D(x + 1)\n",
    ),
    "E0311": Page(
        "weights that a parent does not have",
        "A stage goes on from its parent's weights, or reads them. Each of its weights that comes from there exists there "
        "under the same path and in the same shape.",
        "stage more from base {\n  condition y: class(10)   # the backbone of base was trained without it\n}\n",
        "stage more from base {\n  condition y: class(10)\n  backbone mlp(width = 64)   # said anew: it starts afresh\n}\n",
    ),
    "E0312": Page(
        "data that do not give this",
        "A condition that is not computed from x, and a field, are read with the examples. A reader declares what it gives "
        "beside them, and of which type: `digits` gives `field y: class(10)`.",
        "data x: image(1, 8, 8) in [-1, 1] from digits\ncondition y: class(3)\n",
        "data x: image(1, 8, 8) in [-1, 1] from digits\ncondition y: class(10)\n",
    ),
    "E0313": Page(
        "a reader whose Python does not fit",
        "A reader of your own is a function in a Python file beside the spec. It begins with `split` and reads, or with "
        "`n, rng` and draws n examples; the reader's knobs are its other arguments, and it gives NumPy arrays by name: `x` and "
        "the fields that the reader declares. The file is parsed and not run by a check; training runs it.",
        'reader mine(folder) -> vector(2) = extern("my_data.load")\n',
        'reader mine(folder) -> vector(2) = extern("my_data.py:load")\n',
    ),
    "E0401": Page(
        "time runs backwards",
        "t runs from data (smallest) to noise (largest) in every spec, whatever the paper's convention, so that samplers and "
        "losses mean the same for all of them.",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = t\n  sigma(t) = 1 - t\n}\n",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t\n}\n",
    ),
    "E0402": Page(
        "the signal-to-noise ratio rises",
        "alpha(t) / sigma(t) falls strictly with t. Where it rises or rests, a step of a sampler adds noise backwards or "
        "divides by zero. The schedule is looked at on a fine grid.",
        "alpha(t) = 1 - min(t, 0.5)\nsigma(t) = min(t, 0.5)\n",
        "alpha(t) = 1 - t\nsigma(t) = t\n",
    ),
    "E0403": Page(
        "the ends of a process",
        "At t_min there is data, at t_max noise, alpha and sigma are numbers of 0 or more in between, and samplers stop at "
        "t_end, which lies in that range.",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = sqrt(0.5 - t)\n  sigma(t) = t\n}\n",
        "process mine for gaussian over t in [0, 0.5] {\n  alpha(t) = sqrt(0.5 - t)\n  sigma(t) = 2 * t\n}\n",
    ),
    "E0404": Page(
        "a target that is not affine",
        "`target(x, e, t)` is a sum of x and e with factors that depend on t alone. Then denoised data, noise, score and "
        "velocity all follow from it by solving two linear equations.",
        "predict mine for gaussian { target(x, e, t) = x * e }\n",
        "predict mine for gaussian { target(x, e, t) = x - e }\n",
    ),
    "E0405": Page(
        "a prediction that does not determine x",
        "With z = alpha x + sigma e and the target, x and e must follow. Where alpha is 0, the noise is all of z, and a "
        "network that names the noise says nothing about x: zero signal-to-noise ratio and `eps` do not go together (Lin et "
        "al. 2024, Common Diffusion Noise Schedules and Sample Steps Are Flawed).",
        "process linear\npredict eps\n",
        "process linear\npredict velocity\n",
    ),
    "E0406": Page(
        "a sampler that leaves the numbers",
        "The sampler was carried out on one example with a stand-in for the network, and came to infinity or to no number at "
        "all. Most often a conversion between predictions divides by alpha or sigma at a time where it is 0.",
        "process linear\npredict x0\nsampler heun(steps = 18)\n",
        "process linear with { t_end = 1e-3 }\npredict x0\nsampler heun(steps = 18)\n",
    ),
    "E0407": Page(
        "a score where there is none",
        "The score follows from the noise when that is standard normal and independent of x. A coupling ties them, another "
        "source has another law; velocity survives, and with it the samplers of the ODE.",
        "coupling minibatch_ot\nsampler ddpm(steps = 100)\n",
        "coupling minibatch_ot\nsampler euler(steps = 100)\n",
    ),
    "E0408": Page(
        "a requirement does not hold",
        "A definition says with `require` what must hold of its knobs and sizes, and with which message.",
        "backbone dit(dim = 30, heads = 4)\n",
        "backbone dit(dim = 32, heads = 4)\n",
    ),
    "E0409": Page(
        "a sampler that cannot keep a cache",
        "`decode { cache = true }` asks that samplers which fill a sequence place by place keep what the network needs of "
        "earlier places. It follows each op of the network: one that lets a place look at those behind it, or at itself, stops "
        "it. Without the section such a sampler asks for the whole sequence in each round.",
        "backbone transformer(causal = false)\nsampler ancestral\ndecode { cache = true }\n",
        "backbone transformer(causal = true)\nsampler ancestral\ndecode { cache = true }\n",
    ),
    "E0421": Page(
        "a bijection that does not invert",
        "`inverse(forward(x))` must be x, whatever the weights: it is tried out with random ones. A derived inverse holds by "
        "construction where forward is one to one; a written one must undo forward step by step, last step first.",
        "bijection shift(x: vector(2)) {\n  param a: vector(2) = zeros\n  forward(x) = (x + a, 0)\n  inverse(z) = z + a\n}\n",
        "bijection shift(x: vector(2)) {\n  param a: vector(2) = zeros\n  forward(x) = (x + a, 0)\n  inverse(z) = z - a\n}\n",
    ),
    "E0422": Page(
        "a determinant that is not that of the Jacobian",
        "The second result of `forward` is the logarithm of the absolute value of the determinant of its Jacobian, summed over "
        "all numbers of one example. It is compared with differences of `forward` at random weights.",
        "forward(x) = (x * exp(a), sum(exp(a)))\n",
        "forward(x) = (x * exp(a), sum(a))\n",
    ),
    "E0423": Page(
        "no inverse can be derived",
        "An inverse is derived by reading the steps of `forward` backwards: what is known must lead back to x. A step that "
        "mixes unknown values, such as a matrix or a loop, ends the way.",
        "forward(x) = (x + net(x), 0)\n",
        "forward(x) {\n  a, b = split(x, 2)\n  return concat([a + net(b), b]), 0\n}\n",
    ),
    "E0501": Page(
        "an objective that misses its network",
        "The objective does not depend on parameters that it trains, or only through `stop`: its gradient there is zero, and "
        "they would stay as they start.",
        "minimize mean((stop(out(z, t)) - e)^2)\n",
        "minimize mean((out(z, t) - e)^2)\n",
    ),
    "E0502": Page(
        "a gradient that is zero everywhere",
        "The derivative of something that does not depend on the variable is zero; that is never what a text means.",
        "g = grad(sum(e^2), t)\n",
        "g = grad(sum(e^2), e)\n",
    ),
    "E0503": Page(
        "one draw for the batch, in a sampler or query",
        "A sample, or a query's answer, depends on its own seed and example alone, so that it is the same in any batch. A draw "
        "that a batch shares belongs in a loss.",
        "sampler mine {\n  w ~ normal(like = x) per batch\n  return w\n}\n",
        "sampler mine {\n  w ~ normal(like = x)\n  return w\n}\n",
    ),
    "E0504": Page(
        "training outside of a loss",
        "`minimize` and `update` are what a step of training does, and stand in a loss. An `update` gives a state a value, or "
        "takes each parameter of a set through a function of numbers that are known while compiling.",
        "sampler mine {\n  update a = 0\n  return G(z)\n}\n",
        "loss mine {\n  minimize mean((G(z) - x)^2)\n  update a = step\n}\n",
    ),
    "E0505": Page(
        "a set without parameters",
        "A pattern of paths after `over` matches no parameter of the network, so that nothing would be trained. "
        "`specc dump --stage example` shows the paths.",
        'minimize mean((G(z) - x)^2) over G["*.biass"]\n',
        'minimize mean((G(z) - x)^2) over G["*.bias"]\n',
    ),
    "E0506": Page(
        "a gradient through a loop that stops by itself",
        "Samplers and queries become graphs, in which a gradient is written out. How often a `while` runs is known only once "
        "it has run, and the order of a sort is not among the values. In losses PyTorch goes back through them.",
        "while gap > tol limit 50 { w = f(w); gap = norm(w - f(w)) }\ng = grad(sum(w), z)\n",
        "for k in 0..50 { w = f(w) }\ng = grad(sum(w), z)\n",
    ),
    "E0521": Page(
        "a law that does not say this of itself",
        "A law says what its definition gives: `logp(v)`, `mean`, `std`, `entropy`, `kl(p)`, and `draw(like)`. Not every law "
        "has each of them in closed form.",
        "q = logit_normal(m, s)\nminimize q.mean\n",
        "q = logit_normal(m, s)\nv ~ q\nminimize v\n",
    ),
    "E0522": Page(
        "a divergence without a closed form",
        "`kl(q, p)` is exact. Between laws of different names, or of a name whose definition gives no `kl(p)`, it is estimated "
        "with a draw.",
        "q = normal(m, s)\np = laplace(0, 1)\nminimize kl(q, p)\n",
        "q = normal(m, s)\np = laplace(0, 1)\nv ~ q\nminimize q.logp(v) - p.logp(v)\n",
    ),
    "E0601": Page(
        "a number that makes no sense",
        "Negative steps, an empty batch, a learning rate below zero, infinity, an integer of more than 64 bits: numbers are "
        "looked at where they are written.",
        "train { batch = 0 }\n",
        "train { batch = 128 }\n",
    ),
    "E0602": Page(
        "a rule of quantisation without effect",
        "A rule whose pattern matches no weight leaves the model as it is, and looks as if it did not.",
        'quantize q { rule "*.atention.*" { weights = int8(axis = channel) } }\n',
        'quantize q { rule "*.attention.*" { weights = int8(axis = channel) } }\n',
    ),
    "E0603": Page(
        "too large for any machine",
        "A tensor, a network or a table of a schedule has more elements than could be held. It is refused before anything of "
        "that size is made.",
        "backbone mlp(width = 10^12)\n",
        "backbone mlp(width = 1024)\n",
    ),
    "E0604": Page(
        "too much to write out",
        "`static for`, lists and recursive definitions are carried out while compiling, and what they write out is bounded. "
        "Loops of the program itself (`for`, `repeat`) may be long.",
        "static for i in 1..10000000 { h = h + 1 }\n",
        "for i in 1..1000 { h = h + 1 }\n",
    ),
    "E0605": Page(
        "a format of numbers that does not fit its use",
        "Formats have blocks, scales and zeros of some kinds and not of others, and products of two activations have no "
        "weights to round. The message says which formats can do what is asked.",
        "quantize q { weights = mxfp4(affine = true) }\n",
        "quantize q { weights = int4(affine = true) }\n",
    ),
    "E0606": Page(
        "a bound on a quantised file that does not hold",
        "`require` in a `quantize` section bounds what rounding may cost. It is measured when the file is exported; a file "
        "that misses its bound is not kept.",
        "quantize q { weights = int2; require frechet_ratio <= 1.1 }\n",
        "quantize q { weights = int8; require frechet_ratio <= 1.1 }\n",
    ),
    "W0403": Page(
        "noise that still shows the data",
        "Samplers start from pure noise at t_max. Where the process keeps some signal there, training never sees what sampling "
        "starts from, and brightness and contrast of samples suffer.",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - 0.7 * t\n  sigma(t) = t\n}\n",
        "process mine for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t\n}\n",
    ),
    "W0406": Page(
        "an ill-conditioned conversion",
        "At one of the times that a sampler visits, a small error of the network becomes a large one of the state, because the "
        "conversion of its prediction divides by a very small number. Each step is tried out, at the scale of its state.",
        "process vp_cosine\npredict eps\nsampler ddim(steps = 4)\n",
        "process vp_cosine\npredict v\nsampler ddim(steps = 4)\n",
    ),
    "W0701": Page(
        "something that nothing reads",
        "A knob, condition or network is declared and then not used. It may be a slip of the pen in the body.",
        "process mine(rate = 2) for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t\n}\n",
        "process mine(rate = 2) for gaussian over t in [0, 1] {\n  alpha(t) = 1 - t\n  sigma(t) = t^rate\n}\n",
    ),
    "W0702": Page(
        "a definition that hides the library's",
        "The file defines something of the same kind and name as the library. It is used in the library's place, here and in "
        "what is imported from here.",
        "sampler euler(steps = 10) { z ~ prior(); return z }\n",
        "sampler my_euler(steps = 10) { z ~ prior(); return z }\n",
    ),
    "W0703": Page(
        "transport across a condition",
        "A matching of the whole batch moves noise between classes, so that its law given the condition is no longer the one "
        "that samplers start from.",
        "condition y: class(10)\ncoupling minibatch_ot\n",
        "condition y: class(10)\ncoupling independent\n",
    ),
    "W0704": Page(
        "something asked for that is not done yet",
        "The section asks for a way to run that changes no result. specc does not have it yet, and goes on without.",
        "decode { cache = true; speculate = ngram(4) }\n",
        "decode { cache = true }\n",
    ),
}
