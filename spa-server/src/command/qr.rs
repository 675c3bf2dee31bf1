//! A text as QR code (ISO/IEC 18004), on a terminal or as a picture.

#[cfg(feature = "png")]
use std::path::Path;

use qrcodegen::{QrCode, QrCodeEcc};
use spa_keys::Failure;

/// Light modules around the code, as the standard demands.
const QUIET_ZONE_MODULES: i32 = 4;
/// Pixels of a module in the picture.
#[cfg(feature = "png")]
const PIXELS_PER_MODULE: i32 = 6;

/// The code of a text.
///
/// # Errors
/// It is too long for one.
pub(super) fn make_code(text: &str) -> Result<QrCode, Failure> {
    QrCode::encode_text(text, QrCodeEcc::Low).map_err(|error| {
        Failure::failed(format!("no QR code: {error}; name fewer hosts or services"))
    })
}

/// Two modules per character, light ones drawn: what scanners read on a dark terminal, and most of
/// them on a light one.
pub(super) fn draw_code(code: &QrCode) -> String {
    let end = code.size() + QUIET_ZONE_MODULES;
    let mut text = String::new();
    for y in (-QUIET_ZONE_MODULES..end).step_by(2) {
        for x in -QUIET_ZONE_MODULES..end {
            text.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '\u{2588}',
                (false, true) => '\u{2580}',
                (true, false) => '\u{2584}',
                (true, true) => ' ',
            });
        }
        text.push('\n');
    }
    text
}

/// Writes a picture, mode 0600, never over another file.
///
/// # Errors
/// What the system says.
#[cfg(feature = "png")]
pub(super) fn write_picture(code: &QrCode, path: &Path) -> Result<(), Failure> {
    use std::io::{self, Write as _};

    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let side = (code.size() + 2 * QUIET_ZONE_MODULES) * PIXELS_PER_MODULE;
    let light = |x: i32, y: i32| {
        !code.get_module(
            x / PIXELS_PER_MODULE - QUIET_ZONE_MODULES,
            y / PIXELS_PER_MODULE - QUIET_ZONE_MODULES,
        )
    };
    let pixels = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
    let pixels: Vec<u8> = pixels.map(|(x, y)| if light(x, y) { 255 } else { 0 }).collect();
    let mut bytes = Vec::new();
    let side = u32::try_from(side).unwrap_or_default();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels));
    written.map_err(|error| failed(io::Error::other(error)))?;
    let mut file = spa_keys::file::create_private(path)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)
}
