import COpenH264
import Video

/// H.264 through libopenh264. Nothing is concealed: a picture that is damaged is an error.
final class H264Decoder {
    /// A decoded picture in the decoder's memory, until the decoder is used again.
    struct Picture {
        /// As given with what it was decoded from.
        var number: Int
        var size: Size
        fileprivate var luma: UnsafePointer<UInt8>
        fileprivate var blue: UnsafePointer<UInt8>
        fileprivate var red: UnsafePointer<UInt8>
        /// Bytes from one line to the next.
        fileprivate var strides: (luma: Int, chroma: Int)
    }

    private let decoder: UnsafeMutablePointer<ISVCDecoder?>

    /// - Parameter parameterSets: NAL units without start codes.
    init(parameterSets: [[UInt8]]) throws(MediaError) {
        var made: UnsafeMutablePointer<ISVCDecoder?>?
        guard WelsCreateDecoder(&made) == 0, let decoder = made else {
            throw .codec("libopenh264", reason: "no decoder")
        }
        self.decoder = decoder
        var silent: Int32 = 0  // WELS_LOG_QUIET
        _ = decoder.pointee!.pointee.SetOption(decoder, DECODER_OPTION_TRACE_LEVEL, &silent)
        var parameters = SDecodingParam()
        parameters.uiTargetDqLayer = .max
        parameters.eEcActiveIdc = ERROR_CON_DISABLE
        parameters.sVideoProperty.size = UInt32(MemoryLayout<SVideoProperty>.size)
        parameters.sVideoProperty.eVideoBsType = VIDEO_BITSTREAM_AVC
        guard decoder.pointee!.pointee.Initialize(decoder, &parameters) == 0 else {
            throw .codec("libopenh264", reason: "the decoder does not start")
        }
        for unit in parameterSets {
            guard try decode(H264.startCode + unit, number: 0) == nil else {
                throw .malformed("H.264: a parameter set that is a picture")
            }
        }
    }

    deinit {
        _ = decoder.pointee!.pointee.Uninitialize(decoder)
        WelsDestroyDecoder(decoder)
    }

    /// - Parameter units: all of one picture, with start codes.
    /// - Returns: the next picture in the order in which they are shown, often an earlier one; `nil` when it is not known yet.
    func decode(_ units: [UInt8], number: Int) throws(MediaError) -> Picture? {
        guard let length = Int32(exactly: units.count) else { throw .tooLarge("a frame of \(units.count) bytes") }
        var info = SBufferInfo()
        info.uiInBsTimeStamp = UInt64(number)
        var planes = [UnsafeMutablePointer<UInt8>?](repeating: nil, count: 3)
        let status = decoder.pointee!.pointee.DecodeFrameNoDelay(decoder, units, length, &planes, &info)
        guard status == dsErrorFree else {
            throw .codec(
                "libopenh264",
                reason: "error \(status.rawValue) in frame \(number): damaged, or of a kind it does not decode")
        }
        return try picture(info, planes)
    }

    /// What is left when everything was given; `nil` at the end.
    func flush() throws(MediaError) -> Picture? {
        var info = SBufferInfo()
        var planes = [UnsafeMutablePointer<UInt8>?](repeating: nil, count: 3)
        guard decoder.pointee!.pointee.FlushFrame(decoder, &planes, &info) == dsErrorFree else {
            throw .codec("libopenh264", reason: "the last frames are damaged")
        }
        return try picture(info, planes)
    }

    private func picture(
        _ info: SBufferInfo, _ planes: [UnsafeMutablePointer<UInt8>?]
    ) throws(MediaError) -> Picture? {
        guard info.iBufferStatus == 1, let luma = planes[0], let blue = planes[1], let red = planes[2] else {
            return nil
        }
        let buffer = info.UsrData.sSystemBuffer
        let (width, height) = (Int(buffer.iWidth), Int(buffer.iHeight))
        guard let size = Size(width: width, height: height) else {
            throw .malformed("H.264: a picture of \(width)x\(height)")
        }
        return Picture(
            number: Int(clamping: info.uiOutYuvTimeStamp), size: size, luma: UnsafePointer(luma),
            blue: UnsafePointer(blue), red: UnsafePointer(red),
            strides: (Int(buffer.iStride.0), Int(buffer.iStride.1)))
    }
}

extension Frame {
    /// A colour that four pixels share is each one's.
    ///
    /// - Parameter quarterTurns: clockwise.
    init(_ picture: H264Decoder.Picture, _ colour: RGBMatrix, quarterTurns: Int) {
        let (width, height) = (picture.size.width, picture.size.height)
        // Where the first pixel goes, and how far the next one to the right and below are from it.
        let (start, right, below): (Int, Int, Int)
        switch quarterTurns {
        case 1: (start, right, below) = (height - 1, height, -1)
        case 2: (start, right, below) = (width * height - 1, -1, -width)
        case 3: (start, right, below) = ((width - 1) * height, -height, 1)
        default: (start, right, below) = (0, 1, width)
        }
        var rgb = [UInt8](repeating: 0, count: 3 * width * height)
        for y in 0..<height {
            let luma = picture.luma + y * picture.strides.luma
            let blue = picture.blue + y / 2 * picture.strides.chroma
            let red = picture.red + y / 2 * picture.strides.chroma
            var place = 3 * (start + y * below)
            for x in 0..<width {
                colour.convert(Int(luma[x]), Int(blue[x / 2]), Int(red[x / 2]), into: &rgb, at: place)
                place += 3 * right
            }
        }
        let turned = quarterTurns % 2 == 1 ? Size(width: height, height: width)! : picture.size
        self.init(size: turned, pixels: rgb)
    }
}
