import Engine
import FoundationEssentials

extension Transformer {
    /// Opens the transformer of a model folder alone: benchmarks need no other part, and `convert --random` makes no
    /// other. Reads `transformer` and `tokenizer.max_tokens` of model.json.
    public init(folder: String) throws(ModelError) {
        let json = try contents(of: "model.json", in: folder, limit: ModelDescription.maximumBytes)
        let description: Description
        do {
            description = try JSONDecoder().decode(Description.self, from: Data(json))
        } catch let error as DecodingError {
            throw ModelError(error)
        } catch {
            throw .invalid(field: "file", reason: "is not JSON")
        }
        let transformer = description.transformer
        guard transformer.patchSize.count == 3, transformer.patchSize.allSatisfy({ (1...16).contains($0) }),
            (1...128).contains(transformer.heads), Compute.supportsAttention(headDim: transformer.headDimension),
            (1...128).contains(transformer.layers), (1...65536).contains(transformer.feedForwardDimension),
            (1...256).contains(transformer.inChannels), (1...256).contains(transformer.outChannels),
            (1...8192).contains(transformer.textDimension), (2...4096).contains(transformer.frequencyDimension),
            (1...512).contains(description.tokenizer.maximumTokens), !transformer.file.contains("/")
        else { throw .invalid(field: "transformer", reason: "has dimensions out of range") }
        self = try inFile(transformer.file) { () throws(CheckpointError) in
            try Transformer(
                Checkpoint(path: "\(folder)/\(transformer.file)"), transformer,
                maximumTokens: description.tokenizer.maximumTokens)
        }
    }

    private struct Description: Decodable {
        struct Tokenizer: Decodable {
            var maximumTokens: Int

            enum CodingKeys: String, CodingKey {
                case maximumTokens = "max_tokens"
            }
        }

        var transformer: ModelDescription.Transformer
        var tokenizer: Tokenizer
    }
}

extension Transformer {
    /// Operations of one pass in its linears and attentions (a product and a sum are two); `keys` of the text.
    public func operations(_ shape: LatentShape, keys: Int) -> Double {
        let tokens = Double(tokens(shape))
        let (width, hidden) = (Double(configuration.width), Double(configuration.feedForwardDimension))
        let patch = Double(
            configuration.patchSize.reduce(1, *) * (configuration.inChannels + configuration.outChannels))
        // Self-attention's four, cross-attention's query and output, the feed-forward.
        let linears = 6 * width * width + 2 * width * hidden
        let attention = 2 * width * (tokens + Double(keys))
        return 2 * tokens * (Double(configuration.layers) * (linears + attention) + patch * width)
    }
}
