import ArgumentParser
import Engine

struct Attention: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time attention in int8 and in float32, on random numbers, in turn.",
        discussion: """
            Operations are 4 * tokens * keys * heads * head dimension; int8 includes the quantization of keys and values.
            The cosine is of the int8 result with the float one.
            """)
    @Option(help: "Queries.") var tokens = 4000
    @Option(help: "Keys; default: as many as queries.") var keys: Int?
    @Option(help: "Heads.") var heads = 1
    @Option(help: "Head dimension, a multiple of 16 up to 256.") var head = 128
    @Option(help: "Repetitions, after one that is not counted.") var runs = 5
    @Flag(help: "Only int8: float takes long over many tokens.") var onlyInt8 = false
    @Flag(help: "One JSON object instead of text.") var json = false
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard (1...1 << 20).contains(tokens), (1...1 << 20).contains(keys ?? 1), (1...1 << 10).contains(heads) else {
            throw ValidationError("--tokens and --keys: 1 to 1048576, --heads: 1 to 1024")
        }
        guard Compute.supportsAttention(headDim: head) else {
            throw ValidationError("--head: a multiple of 16, at most 256")
        }
        guard (1...1000).contains(runs) else { throw ValidationError("--runs: 1 to 1000") }
    }

    func run() throws {
        let line = try Self.line(
            tokens: tokens, keys: keys ?? tokens, heads: heads, head: head, comparesFloats: !onlyInt8,
            engine.compute(), repetitions: runs)
        print(line.text(json: json))
    }

    /// - Parameter comparesFloats: measures attention in float32 too and tells the cosine.
    static func line(
        tokens: Int, keys: Int, heads: Int, head: Int, comparesFloats: Bool, _ compute: Compute, repetitions: Int
    ) throws -> Line {
        let width = heads * head
        let scratchBytes = QuantizedKeysAndValues.scratchBytes(count: keys, heads: heads, headDim: head)
        var plan = ArenaPlan()
        for count in [tokens * width, keys * width, keys * width, tokens * width, tokens * width] {
            plan.allocate(Float.self, count: count)
        }
        plan.allocate(Float.self, count: scratchBytes / 4)
        let arena = try Arena(byteCount: plan.byteCount)
        let q = try arena.allocate(Float.self, count: tokens * width)
        let k = try arena.allocate(Float.self, count: keys * width)
        let v = try arena.allocate(Float.self, count: keys * width)
        let float = try arena.allocate(Float.self, count: tokens * width)
        let int8 = try arena.allocate(Float.self, count: tokens * width)
        let scratch = UnsafeMutableRawPointer(try arena.allocate(Float.self, count: scratchBytes / 4))
        for (stream, (x, count)) in [(q, tokens), (k, keys), (v, keys)].enumerated() {
            Random.normal(seed: 1, stream: UInt64(stream), count: count * width, into: x)
        }
        let states = KeysAndValues(k: k, strideK: width, v: v, strideV: width, count: keys)
        let watch = Stopwatch(compute: compute)
        let operations = 4.0 * Double(tokens) * Double(keys) * Double(width)
        var preparation: [Double] = []
        let result = watch.against(peak: { watch.int8Peak() }, operations: operations, repetitions: repetitions) {
            let start = watch.seconds()
            let quantized = QuantizedKeysAndValues(
                states, heads: heads, headDim: head, compute: compute, scratch: scratch)
            preparation.append(watch.seconds() - start)
            compute.attention(q, queries: tokens, keys: quantized, into: int8)
        }
        var line = Line("attention")
        line.add("tokens", tokens)
        line.add("keys", keys)
        line.add("heads", heads)
        line.add("head", head)
        line.add(result)
        line.add("preparation_milliseconds", 1e3 * Samples(preparation).median, digits: 3)
        line.add("scratch_bytes", scratchBytes)
        if comparesFloats {
            let floats = watch.against(peak: { watch.floatPeak() }, operations: operations, repetitions: repetitions) {
                compute.attention(q, queries: tokens, keys: states, heads: heads, headDim: head, into: float)
            }
            let similar = cosine(
                Array(UnsafeBufferPointer(start: int8, count: tokens * width)),
                Array(UnsafeBufferPointer(start: float, count: tokens * width)))
            line.add("float_milliseconds", 1e3 * floats.seconds.median, digits: 3)
            line.add("float_gops", floats.rate.median / 1e9)
            line.add("float_percent_of_float_peak", 100 * floats.part.median)
            line.add("cosine", similar, digits: 6)
        }
        line.add(compute)
        return line
    }
}
