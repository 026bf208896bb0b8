import Engine

/// A model folder, opened: model.json, the vocabulary and four mapped checkpoints.
///
/// ```
/// model.json  vocab.txt  text_encoder.safetensors  transformer.safetensors  autoencoder.safetensors
/// preview.safetensors
/// ```
///
/// Opening checks structure: every field of model.json, every file's size, every tensor's name, type and shape. No weight
/// is read, so that it takes milliseconds and no memory to speak of; `verify()` reads everything.
public final class Model: Sendable {
    /// The folder's path as it was given.
    public let folder: String
    public let description: ModelDescription
    public let tokenizer: WordPieceTokenizer
    public let textEncoder: TextEncoder
    public let transformer: Transformer
    public let autoencoder: Autoencoder
    public let preview: PreviewDecoder
    /// The mapped files by name.
    let checkpoints: [String: Checkpoint]

    /// Throws what is wrong, with the name of the field, the file or the tensor.
    public init(folder: String) throws(ModelError) {
        self.folder = folder
        let json = try contents(of: "model.json", in: folder, limit: ModelDescription.maximumBytes)
        let description = try ModelDescription(json: json)
        let vocabulary = try contents(
            of: description.tokenizer.file, in: folder, limit: Vocabulary.maximumBytes)
        try description.checkSizes(in: folder)
        var checkpoints: [String: Checkpoint] = [:]
        for file in [
            description.textEncoder.file, description.transformer.file, description.autoencoder.file,
            description.preview.file,
        ] where checkpoints[file] == nil {
            do {
                checkpoints[file] = try Checkpoint(path: "\(folder)/\(file)")
            } catch {
                throw .checkpoint(file: file, reason: error.description)
            }
        }

        func open<T>(_ file: String, _ make: (Checkpoint) throws(CheckpointError) -> T) throws(ModelError) -> T {
            guard let checkpoint = checkpoints[file] else { throw .unreadable(file: file, reason: "it is not mapped") }
            do {
                return try make(checkpoint)
            } catch {
                throw .checkpoint(file: file, reason: error.description)
            }
        }
        let tokens = description.tokenizer.maximumTokens
        tokenizer = try WordPieceTokenizer(
            vocabulary: vocabulary, lowercase: description.tokenizer.lowercase, maximumTokens: tokens)
        guard tokenizer.vocabularySize == description.textEncoder.vocabularySize else {
            throw .invalid(
                field: "text_encoder.vocab_size",
                reason: "is \(description.textEncoder.vocabularySize), "
                    + "\(description.tokenizer.file) has \(tokenizer.vocabularySize) pieces")
        }
        textEncoder = try open(description.textEncoder.file) { checkpoint throws(CheckpointError) in
            try TextEncoder(checkpoint, description.textEncoder, maximumTokens: tokens)
        }
        transformer = try open(description.transformer.file) { checkpoint throws(CheckpointError) in
            try Transformer(checkpoint, description.transformer, maximumTokens: tokens)
        }
        autoencoder = try open(description.autoencoder.file) { checkpoint throws(CheckpointError) in
            try Autoencoder(checkpoint, description.autoencoder)
        }
        preview = try open(description.preview.file) { checkpoint throws(CheckpointError) in
            try PreviewDecoder(checkpoint, description.preview, channels: description.transformer.inChannels)
        }
        self.description = description
        self.checkpoints = checkpoints
    }

    /// Throws when a file has changed since it was mapped. Cheap: ask before each video.
    public func checkUnchanged() throws(ModelError) {
        for (file, checkpoint) in checkpoints {
            do { try checkpoint.checkUnchanged() } catch { throw .unreadable(file: file, reason: error.description) }
        }
    }
}
