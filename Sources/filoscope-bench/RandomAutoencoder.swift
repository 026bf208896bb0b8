import Engine
import FoundationEssentials
import Glibc
import Models

/// An autoencoder's decoder in int8 with random weights, in a file that goes away once it is mapped: what is timed depends
/// on dimensions alone.
enum RandomAutoencoder {
    /// TAEHV for Wan 2.1 (madebyollin/taehv, `taew2_1`).
    static let original = """
        {"file": "", "kind": "taehv", "patch_size": 1, "image_channels": 3, "latent_channels": 16, "decoder":
        {"widths": [256, 128, 64, 64], "blocks": [3, 3, 3], "space": [2, 2, 2], "time": [1, 2, 2]}}
        """

    static func make(_ json: String) throws -> Autoencoder {
        let configuration = try JSONDecoder().decode(ModelDescription.Autoencoder.self, from: Data(json.utf8))
        return try Autoencoder(checkpoint(file(layers(configuration))), configuration)
    }

    /// An int8 convolution of a file.
    struct Layer {
        var name: String
        var inputs: Int
        var past = 0
        var outputs: Int
        var kernel = 3
        /// Of the bytes it takes: 0 behind a ReLU.
        var zero = 0
    }

    /// Of a decoder, numbered as upstream's `nn.Sequential`.
    static func layers(_ configuration: ModelDescription.Autoencoder) -> [Layer] {
        let decoder = configuration.decoder
        let channels = configuration.latentChannels
        var layers = [Layer(name: "decoder.1", inputs: channels, outputs: decoder.widths[0], zero: 128)]
        var index = 3
        for stage in decoder.blocks.indices {
            let (width, next) = (decoder.widths[stage], decoder.widths[stage + 1])
            for block in 0..<decoder.blocks[stage] {
                let name = "decoder.\(index).conv"
                let zero = stage > 0 && block == 0 ? 128 : 0
                layers.append(Layer(name: name + ".0", inputs: width, past: width, outputs: width, zero: zero))
                layers.append(Layer(name: name + ".2", inputs: width, outputs: width))
                layers.append(Layer(name: name + ".4", inputs: width, outputs: width))
                index += 1
            }
            layers.append(
                Layer(
                    name: "decoder.\(index + 1).conv", inputs: width, outputs: width * decoder.time[stage], kernel: 1))
            layers.append(
                Layer(name: "decoder.\(index + 2)", inputs: width, outputs: next, zero: 128))
            index += 3
        }
        let pixels = configuration.imageChannels * configuration.patchSize * configuration.patchSize
        layers.append(
            Layer(name: "decoder.\(index + 1)", inputs: decoder.widths[decoder.widths.count - 1], outputs: pixels))
        return layers
    }

    static func checkpoint(_ bytes: [UInt8]) throws -> Checkpoint {
        var template = Array("/tmp/filoscope-bench-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw CocoaError(.fileWriteUnknown) }
        close(descriptor)
        let path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { unlink(path) }
        try save(bytes, path)
        return try Checkpoint(path: path)
    }

    /// A safetensors file as the converter writes it.
    static func file(_ layers: [Layer]) -> [UInt8] {
        var (data, members, fillers): ([UInt8], [String], Int) = ([], [], 0)
        func append(_ name: String, _ type: String, _ shape: [Int], _ bytes: [UInt8]) {
            members.append(
                "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(data.count),\(data.count + bytes.count)]}"
            )
            data += bytes
        }
        func fill(_ count: Int) {
            guard count > 0 else { return }
            append("_pad.\(fillers)", "I8", [count], [UInt8](repeating: 0, count: count))
            fillers += 1
        }
        func add<T>(_ name: String, _ type: String, _ shape: [Int], _ values: [T]) {
            append(name, type, shape, values.withUnsafeBytes { Array($0) })
            fill((64 - data.count % 64) % 64)
        }
        var state: UInt64 = 1
        for layer in layers {
            let outputs = (layer.outputs + 15) / 16 * 16
            let inputs = (layer.inputs + 15) / 16 * 16 + (layer.past + 15) / 16 * 16
            let depth = inputs * layer.kernel * layer.kernel
            var sums = [Int32](repeating: 0, count: outputs)
            let weights = (0..<outputs * depth).map { index in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let value = Int32(truncatingIfNeeded: state >> 33) % 128
                sums[index / (8 * depth) * 8 + index / 8 % 8] += value
                return Int8(value)
            }
            // Keeps what comes out about as large as what went in.
            let scale = 1 / (74 * Float(depth).squareRoot())
            add(layer.name + ".weight", "I8", [outputs / 8, layer.kernel, layer.kernel, inputs / 8, 8, 8], weights)
            add(layer.name + ".scale", "F32", [outputs], [Float](repeating: scale, count: outputs))
            add(layer.name + ".sum", "I32", [outputs], sums)
            add(layer.name + ".bias", "F32", [outputs], [Float](repeating: 0.1, count: outputs))
            add(layer.name + ".input", "F32", [2], [Float(0.02), Float(layer.zero)])
        }
        fill(64)
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        header += [UInt8](repeating: UInt8(ascii: " "), count: (64 - (header.count + 8) % 64) % 64)
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header + data
    }
}
